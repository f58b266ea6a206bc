"""Ends a training whose values are no longer finite, before its weights are spoilt, and says where they came from."""

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from salt.batch import JetBatch
from salt.callbacks.replay import Context, Trouble, find_trouble, first_not_finite
from salt.callbacks.trouble import LESS, NotFiniteError, in_words
from salt.parts import how_many
from salt.training import Tagger

log = logging.getLogger(__name__)

LAG = 4
"""Steps of which a GPU may not have said yet how they went; each keeps its batch and the weights before it."""

VERBS = {"train": "fit", "val": "validate", "test": "test"}

SKIPS = 30
"""So many steps in a row may have gradients that half precision cannot hold: each halves the scale of the loss."""


@dataclass(frozen=True, eq=False)
class _Step:
    """A step that is about to be taken.

    Args:
        batch: Its jets.
        when: Its batch, epoch and step in words.
        seen: [2] on the host: the sum of the losses of this epoch up to it, and the norm of its gradients.
        ready: When `seen` is there; None if it is.
        weights: The parameters before it; empty if it has not been taken.
    """

    batch: JetBatch
    when: str
    seen: Tensor
    ready: torch.cuda.Event | None
    weights: list[Tensor]


class Health(Callback):
    """Ends a training at the first loss or gradient that is NaN or infinite, and logs the norm of the gradients.

    Every command has one; name it among the callbacks only to change its arguments. The message names task, batch, rows
    and file of the jets, and the first module with such a value. On a GPU the host learns of it some steps later, and
    before each checkpoint, so that it never waits for a step; the weights are then put back to where they were. A
    validation or test with such losses ends with a warning that names the same.

    Args:
        module_norms: Whether the norms of the gradients of each input's embedding, of the encoder, of the pooling and
            of each task are logged too, as ``train/grad_norm/encoder`` and so on.
    """

    def __init__(self, module_norms: bool = False) -> None:
        self.module_norms = module_norms
        self._batch: tuple[JetBatch, int] | None = None
        self._parameters: list[Tensor] = []
        self._pending: deque[_Step] = deque()
        self._spare: list[list[Tensor]] = []
        self._skipped = 0
        self._said = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the parameters."""
        self._parameters = [p for p in pl_module.parameters() if p.requires_grad]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remembers the batch."""
        self._batch = batch, batch_idx

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Looks at the loss and the gradients, which are those of all devices by now, before they are clipped.

        Raises:
            NotFiniteError: They, or on a GPU those of a step shortly before, are not finite.
        """
        assert isinstance(pl_module, Tagger)
        assert self._batch is not None
        batch, batch_idx = self._batch
        norm = _norm([p.grad for p in self._parameters if p.grad is not None], pl_module.device)
        if pl_module._is_logged:
            pl_module.log("train/grad_norm", norm, batch_size=len(batch))
            if self.module_norms:
                for name, part in _norms_of_parts(pl_module).items():
                    pl_module.log(f"train/grad_norm/{name}", part, batch_size=len(batch))
        seen = torch.stack([pl_module.epoch_totals[:, 0].sum().double(), norm.double()])
        when = f"batch {batch_idx + 1} of epoch {trainer.current_epoch + 1} (step {trainer.global_step + 1})"
        kept: list[Tensor] = []
        if lag := lag_on(seen.device):
            kept = self._spare.pop() if self._spare else [torch.empty_like(p) for p in self._parameters]
            torch._foreach_copy_(kept, self._parameters)
        self._pending.append(_Step(batch, when, *_on_host(seen), kept))
        while len(self._pending) > lag:
            self._check(trainer, pl_module, self._pending.popleft())

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Lets go of the batch."""
        self._batch = None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the steps whose outcome is not known yet."""
        self._settle(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the steps whose outcome is not known yet."""
        self._settle(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lets no checkpoint be written whose weights are not finite.

        Raises:
            NotFiniteError: They are not.
        """
        self._settle(trainer, pl_module)
        if spoilt := _spoilt_weight(pl_module):
            raise_on_all(
                trainer,
                f"the weights '{spoilt.removeprefix('model.')}' are not finite after step {trainer.global_step}, so no "
                f"checkpoint is written\nthe last steps were too large: try {LESS}",
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says where a validation loss that is not finite comes from."""
        self._doubt("val", trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says where a test loss that is not finite comes from."""
        self._doubt("test", trainer, pl_module)

    def _settle(self, trainer: Trainer, pl_module: LightningModule) -> None:
        while self._pending:
            self._check(trainer, pl_module, self._pending.popleft())

    @torch.no_grad()
    def _check(self, trainer: Trainer, pl_module: LightningModule, step: _Step) -> None:
        if step.ready is not None:
            step.ready.synchronize()
        loss, norm = step.seen.tolist()
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if step.weights:
            self._spare.append(step.weights)
        if math.isfinite(loss) and math.isfinite(norm):
            self._skipped = 0
            return
        if math.isfinite(loss) and scaler is not None:
            self._skipped += 1  # The optimiser leaves the step out, and the scale of the loss is halved.
            if self._skipped < SKIPS:
                return
        self._pending.clear()
        assert isinstance(pl_module, Tagger)
        if step.weights:
            torch._foreach_copy_(self._parameters, step.weights)
        parts = step.batch.parts(_number_of_parts(pl_module, step.batch))
        context = trainer.precision_plugin.train_step_context
        found = _first_of_all(trainer, _replayed(pl_module, parts, context, gradients=True))
        words = in_words(found, step.when, trainer.precision, _places(trainer, "train", found))
        last = Path(trainer.default_root_dir) / "ckpts" / "last.ckpt"
        raise_on_all(trainer, words + (f"; {last} is of before" if last.is_file() else ""))

    def _doubt(self, stage: Literal["val", "test"], trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Tagger)
        names = [name for name in pl_module.tasks if name not in pl_module.without_targets]
        losses = [trainer.callback_metrics.get(f"{stage}/{name}/loss") for name in names]
        if self._said or all(loss is None or math.isfinite(float(loss)) for loss in losses):
            return
        self._said = True
        found = _first_of_all(trainer, self._searched(stage, trainer, pl_module))
        when = "the validation" if stage == "val" else "the test"
        words = in_words(found, when, trainer.precision, _places(trainer, stage, found))
        if trainer.is_global_zero:
            log.warning(words)

    def _searched(self, stage: str, trainer: Trainer, tagger: Tagger) -> Trouble | str | None:
        """Goes through the batches once more, up to the first whose loss is not finite."""
        if stage == "test":
            loader, limits = trainer.test_dataloaders, trainer.num_test_batches
        else:
            sane = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
            loader, limits = trainer.val_dataloaders, sane
        context = trainer.precision_plugin.val_step_context
        was = tagger.training
        tagger.eval()
        try:
            for number, batch in enumerate(loader or ()):
                if number >= limits[0]:
                    break
                if found := _replayed(tagger, [batch.to(tagger.device)], context, gradients=False):
                    return found
        finally:
            tagger.train(was)
        return None


def lag_on(device: torch.device) -> int:
    """For how many steps the host does not wait to hear how they went."""
    return LAG if device.type == "cuda" else 0


def raise_on_all(trainer: Trainer, words: str) -> None:
    """Ends the processes of all devices, which have agreed on it, with one message.

    Raises:
        NotFiniteError: In the first process.
        SystemExit: In the others, as a process that ends otherwise would end the first one before it is done.
    """
    if trainer.is_global_zero:
        raise NotFiniteError(words)
    raise SystemExit(0)


def _on_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """The values in the memory of the host, and what tells that they have arrived; the host does not wait."""
    if values.device.type != "cuda":
        return values, None
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    ready = torch.cuda.Event()
    ready.record()
    return host, ready


def _norm(gradients: list[Tensor], device: torch.device) -> Tensor:
    """As PyTorch's `get_total_norm`, which takes a quarter longer."""
    if not gradients:
        return torch.zeros((), device=device)
    total: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return total


def _norms_of_parts(tagger: Tagger) -> dict[str, Tensor]:
    """The norm of the gradients of each part of the model."""
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in tagger.model.named_parameters():
        if parameter.grad is not None:
            first, *rest = name.split(".")
            part = f"{first}/{rest[0]}" if first in ("embed", "tasks") else first
            parts.setdefault(part, []).append(parameter.grad)
    return {part: _norm(gradients, tagger.device) for part, gradients in parts.items()}


def _spoilt_weight(module: LightningModule) -> str:
    """The name of a parameter that is not finite, or a buffer that has NaN; empty if there is none."""
    buffers = ((name, b) for name, b in module.named_buffers() if b.is_floating_point())
    spoilt = next((name for name, buffer in buffers if bool(buffer.isnan().any())), "")
    return first_not_finite(module.named_parameters()) or spoilt


def _replayed(tagger: Tagger, parts: Sequence[JetBatch], context: Context, gradients: bool) -> Trouble | str | None:
    """What is found when a batch is computed again; None for nothing, text if that fails."""
    try:
        return find_trouble(tagger, parts, context, gradients)
    except Exception as error:  # The other processes wait to hear of it.
        log.debug("a batch cannot be computed again", exc_info=True)
        return f"computing the batch again failed: {str(error).splitlines()[0][:100] if str(error) else type(error)}"


def _first_of_all(trainer: Trainer, own: Trouble | str | None) -> Trouble | str | None:
    """What the first process has found that has found anything."""
    if trainer.world_size == 1:
        return own
    found: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, own)
    return min(found, key=lambda each: 0 if isinstance(each, Trouble) else 1 if each else 2)  # type: ignore[no-any-return]


def _number_of_parts(tagger: Tagger, batch: JetBatch) -> int:
    data = tagger.trainer.datamodule  # type: ignore[attr-defined]
    return how_many(batch, data.most_constituents, data.batches_per_step, tagger.model, in_threads=False)[1]


def _places(trainer: Trainer, part: str, found: Trouble | str | None) -> list[tuple[Path, int]]:
    """For each row that was found the file, as the config named it, and the row in it."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    source = data.files(VERBS[part])
    located = [source.locate(row) for row in (found.rows if isinstance(found, Trouble) else ())]
    return [(data.paths[part][file], row) for file, row in located]
