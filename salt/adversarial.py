"""A tagger that is trained against a network that reads a nuisance from its scores."""

import logging
from collections.abc import Callable, Mapping
from math import isnan
from typing import Any

import torch
from torch import Tensor

from salt.adversary import Adversary, Clipping, Nuisance, Opponent, Turn, distance_correlation
from salt.adversary.opponent import HIDDEN
from salt.adversary.options import WHERE
from salt.batch import JetBatch
from salt.errors import ConfigError
from salt.inputs import Target
from salt.metrics.decorrelation import VALUES
from salt.tasks import Loss
from salt.training import Tagger

log = logging.getLogger(__name__)

NAME = "adversary"
"""What stands before the names of what is measured, where that of a task would be."""

NAN = float("nan")

Scale = Callable[[Tensor], Tensor]


class AdversarialTagger(Tagger):
    """A tagger from whose scores a nuisance shall not be readable. Its weights are those of any other tagger.

    The adversary learns beside it, with an optimiser and a rate of its own, and is saved in the checkpoints. A fresh
    network reads the scores at the end of each validation, since an adversary that has died looks beaten. From this one
    are the balance and, with the losses of the tasks, ``val/loss``.

    Args:
        adversary: What it is trained against; null for nothing, which makes it a `Tagger`.
        kwargs: All arguments of a `Tagger`.
    """

    def __init__(self, adversary: Adversary | None = None, **kwargs: Any) -> None:
        if adversary is None:
            raise ConfigError(f"{WHERE}.nuisance is not given; name what shall not be readable")
        super().__init__(**kwargs)
        if NAME in self.tasks:
            raise ConfigError(f"model.tasks.{NAME}: the name belongs to {WHERE}; give the task another one")
        self.adversary = adversary
        self.nuisance = Nuisance(adversary, self.tasks)
        self.opponent: Opponent | None = None
        self.warmed: float | None = None  # What was readable after the warm-up.
        self._turn: Turn | None = None
        self._met: list[Tensor] = []  # [2] sum and count of the adversary's losses of this epoch.
        self._last = torch.zeros(2)
        self._saved: Mapping[str, Any] | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """Those of the tasks, and the nuisance."""
        return *super().targets, self.nuisance.target

    @property
    def opposed(self) -> bool:
        """Whether the tagger is trained against the adversary by now."""
        return self.adversary.opposes and self.trainer.current_epoch >= self.adversary.warmup_epochs

    def setup(self, stage: str) -> None:
        """Takes bins of the nuisance over. A checkpoint, loaded later, replaces them by its own."""
        super().setup(stage)
        if stage != "fit":
            return
        self.nuisance.measure(self.trainer.datamodule.sample)  # type: ignore[attr-defined]
        every = self.trainer.check_val_every_n_epoch
        if every is not None and every > self.adversary.warmup_epochs and self.adversary.exit is not None:
            raise ConfigError(
                f"{WHERE}.balance is measured against the warm-up, and none of its {self.adversary.warmup_epochs} "
                f"epochs is validated with trainer.check_val_every_n_epoch {every}; give {WHERE}.warmup_epochs as many"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the adversary, with the bins, and all that a resumed training needs of it."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["salt"][NAME] = {
            "about": self._about(),
            "edges": [] if self.nuisance.edges is None else self.nuisance.edges.tolist(),
            "centres": list(self.nuisance.centres),
            "warmed": self.warmed,
            "met": [totals.cpu() for totals in self._met],
            "opponent": None if self.opponent is None else self.opponent.state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over bins and balance, and to go on the adversary too."""
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint["salt"].get(NAME)
        training = self._trainer is not None and self._trainer.training
        if saved is None and training:
            raise ConfigError(
                f"the checkpoint was trained without an adversary, so a training with {WHERE} cannot go on from it\n"
                "begin a new run with its weights: --run.warm_start.checkpoint"
            )
        if saved is None:
            return
        for key, asked in self._about().items():
            if saved["about"].get(key) != asked:
                raise ConfigError(
                    f"the checkpoint was trained with {WHERE}.{key} {saved['about'].get(key)}, the config has {asked}\n"
                    "take the same, or begin a new run with its weights: --run.warm_start.checkpoint"
                )
        self.nuisance.adopt(torch.tensor(saved["edges"]), saved["centres"])
        self.warmed = saved["warmed"]
        self._saved, self._met = (saved["opponent"], saved["met"]) if training else (None, [])

    def on_train_start(self) -> None:
        """Makes the adversary, or goes on with it."""
        super().on_train_start()
        self._met = [totals.to(self.device) for totals in self._met]
        words = f"{self.nuisance.number} bins of {self.nuisance.target.variable} of {', '.join(self.nuisance.classes)}"
        if self.trainer.is_global_zero:
            log.info("against an adversary (%s, alpha %g): %s", self.adversary.mode, self.adversary.alpha, words)
        if not self.adversary.has_network:
            return
        hidden = HIDDEN if self.adversary.hidden is None else self.adversary.hidden
        self.opponent = Opponent(len(self.nuisance.task.target.classes), self.nuisance.number, hidden)
        self.opponent.to(self.device)
        if self._saved is not None:
            self.opponent.adopt(self._saved)
        by_value = self.trainer.gradient_clip_algorithm == "value"
        self.opponent.clipping = Clipping(self.trainer.gradient_clip_val or None, by_value)

    def on_train_epoch_start(self) -> None:
        """Begins the mean over the epoch."""
        super().on_train_epoch_start()
        self._met = []

    def on_train_batch_start(self, batch: JetBatch, batch_idx: int) -> None:
        """Sets the rates of both."""
        super().on_train_batch_start(batch, batch_idx)
        if self.opponent is not None:
            self.opponent.rate = self._rate() / self.adversary.slower

    def training_step(self, batch: JetBatch, batch_idx: int) -> Tensor:
        """The loss of the tagger; the adversary learns meanwhile."""
        loss = super().training_step(batch, batch_idx)
        if self._is_logged:
            self.log(f"train/{NAME}/loss", _mean(self._last), batch_size=len(batch))
        return loss

    def _losses(self, batch: JetBatch, scale: Tensor | Scale) -> tuple[Tensor, Tensor]:
        """Those of the tasks, with the term of the adversary in the loss of the step."""
        self._turn = turn = Turn(batch, self.nuisance.bins(batch))
        if not self.opposed:
            sums, loss = super()._losses(batch, scale)
        else:
            sums, loss = super()._losses(batch, self._with_term(turn, scale))
            sums = sums[:-1]
        if turn.totals is None:  # The adversary learns from the scores with which the tagger has learnt.
            if self.opponent is not None:
                turn.totals = self._learn(turn)
            else:
                turn.totals = self._with_count(self._against(turn.scores, turn.bins), turn.bins)
        self._turn, self._last = None, turn.totals
        self._met = [sum(self._met, turn.totals.double())]
        return sums, loss

    def _with_term(self, turn: Turn, scale: Tensor | Scale) -> Tensor | Scale:
        """What the sums are multiplied with: those of the tasks by alpha, and that of the adversary."""
        count = self._over_devices((turn.bins >= 0).sum().double()).clamp(min=1)
        share = (self._sign * (1 - self.adversary.alpha) * self.trainer.world_size / count).to(self._float)

        def both(own: Tensor) -> Tensor:
            return torch.cat([self.adversary.alpha * own, share[None]])

        def after_a_look(sums: Tensor) -> Tensor:
            if turn.gradient is None:
                self._look(turn)
            return both(scale if isinstance(scale, Tensor) else scale(sums[:-1]))

        if self.adversary.mode == "reversal":
            return both(scale) if isinstance(scale, Tensor) else lambda sums: both(scale(sums[:-1]))
        return after_a_look

    def _sums(self, batch: JetBatch) -> Tensor:
        """The [K] sums of the tasks of a part and, against the adversary, its term."""
        turn = self._turn
        if turn is None:
            return super()._sums(batch)
        raw = self.model(batch)
        sums = self._sums_of(raw, batch)
        scores = self.nuisance.scores(raw)
        turn.keep(batch, scores)
        if not self.opposed:
            return sums
        return torch.cat([sums, self._term(turn, batch, scores).to(sums.dtype)[None]])

    def _term(self, turn: Turn, part: JetBatch, scores: Tensor) -> Tensor:
        """The adversary's loss of a part, times the number of jets that count, with the gradient of the scores."""
        if self.adversary.mode == "reversal":
            loss, gradient = self._gradient(scores, turn.of(part, turn.bins))
            return _linear(scores, gradient, loss)
        if turn.gradient is None and len(part) < len(turn.bins):
            return scores.sum()  # The first look at a part; just its scores are wanted.
        gradient = self._look(turn) if turn.gradient is None else turn.gradient
        return _linear(scores, turn.of(part, gradient), turn.loss * (len(part) / len(turn.bins)))

    def _look(self, turn: Turn) -> Tensor:
        """All scores of a step have been seen: the adversary learns, and has a gradient by them."""
        if self.opponent is not None:
            turn.totals = self._learn(turn)
        turn.loss, turn.gradient = self._gradient(turn.scores, turn.bins)
        if turn.totals is None:
            turn.totals = self._with_count(turn.loss, turn.bins)
        return turn.gradient

    def _gradient(self, scores: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
        """The adversary's loss, and its [B, C] gradient by the scores.

        It is made at once, since the adversary may learn before the tagger goes backward.
        """
        with torch.enable_grad():
            scores = scores.detach().requires_grad_()
            loss = self._against(scores, bins)
            (gradient,) = torch.autograd.grad(loss, scores)
        return loss.detach(), gradient

    def _against(self, scores: Tensor, bins: Tensor) -> Tensor:
        """The loss of the adversary, times the number of jets that count."""
        if self.opponent is not None:
            return self.opponent.cross_entropy(scores, bins)
        return distance_correlation(scores, bins) * (bins >= 0).sum()

    def _learn(self, turn: Turn) -> Tensor:
        assert self.opponent is not None
        return self.opponent.learn(turn.scores, turn.bins, self.adversary.steps_each, self._over_devices)

    def _with_count(self, loss: Tensor, bins: Tensor) -> Tensor:
        """[2] a loss, times the number of jets that count, and this number, of all devices."""
        return self._over_devices(torch.stack([loss, (bins >= 0).sum().to(loss.dtype)]))

    @property
    def _sign(self) -> float:
        """The tagger wants the cross-entropy to be large, and the distance correlation small."""
        return -1.0 if self.adversary.has_network else 1.0

    def _in_all(self, tasks: Any, adversary: Any) -> Any:
        """The loss of both."""
        alpha = self.adversary.alpha
        return alpha * tasks + self._sign * (1 - alpha) * adversary if self.adversary.opposes else tasks

    def _whole_loss(self, of_tasks: Tensor) -> Tensor:
        """Also during the warm-up that with the adversary, so that it has no jump after it."""
        total: Tensor = self._in_all(of_tasks, _mean(self._last))
        return total

    @property
    def epoch_loss(self) -> float:
        """The same for the steps of this epoch so far."""
        adversary = float(_mean(self._met[0])) if self._met else NAN
        return float(self._in_all(super().epoch_loss, adversary))

    def _add(self, stage: str, raw: Mapping[str, Any], batch: JetBatch) -> None:
        super()._add(stage, raw, batch)
        if not self.nuisance.known(batch):
            return
        measured: dict[str, Any] = {"decorrelation": self.nuisance.decorrelation(raw, batch)}
        if not self.adversary.has_network:
            bins = self.nuisance.bins(batch)
            each = self._against(self.nuisance.scores(raw), bins)
            measured["distance_correlation"] = Loss(each, (bins >= 0).sum())
        self.tally.add(f"{stage}/{NAME}", measured)

    def _further(self, stage: str, values: Mapping[str, float]) -> dict[str, float]:
        """The balance, and the loss of both; NaN where the files do not have the nuisance."""
        readable = values.get(f"{stage}/{NAME}/readable", NAN)
        learning = stage == "val" and self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        if learning and self.trainer.current_epoch < self.adversary.warmup_epochs and not isnan(readable):
            self.warmed = readable
        if learning and self.warmed is None and NAME not in self._told and not isnan(readable):
            self._told.add(NAME)
            log.warning("the warm-up of the adversary was not validated, so %s/%s/balance is not known", stage, NAME)
        loss = f"{stage}/{NAME}/{'loss' if self.adversary.has_network else 'distance_correlation'}"
        return {
            f"{stage}/{NAME}/balance": balance(readable, self.warmed),
            f"{stage}/loss": self._in_all(values[f"{stage}/loss"], values.get(loss, NAN)),
        }

    def metric_names(self, stage: str) -> tuple[str, ...]:
        """Those of the tasks and of the adversary."""
        own = (*VALUES, *(() if self.adversary.has_network else ("distance_correlation",)), "balance")
        return *super().metric_names(stage), *(f"{stage}/{NAME}/{key}" for key in own)

    def _about(self) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        adversary, nuisance = self.adversary, self.nuisance
        hidden = list(HIDDEN if adversary.hidden is None else adversary.hidden) if adversary.has_network else None
        return {
            "nuisance": nuisance.target.variable,
            "task": nuisance.task.name,
            "classes": list(nuisance.classes),
            "bins": adversary.bins,
            "hidden": hidden,
        }


def balance(readable: float, warmed: float | None) -> float:
    """Between 0, for as readable as after the warm-up, and 1, for nothing readable; NaN where that is not known.

    Args:
        readable: What a fresh network reads now.
        warmed: What one read after the warm-up; None before it.
    """
    if isnan(readable) or not warmed:
        return NAN
    return min(1.0, max(0.0, 1 - readable / warmed))


def _linear(scores: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
    """A number of that value and gradient."""
    return value + ((scores - scores.detach()) * gradient).sum()


def _mean(totals: Tensor) -> Tensor:
    """Of a [2] sum and count."""
    return totals[0] / totals[1]
