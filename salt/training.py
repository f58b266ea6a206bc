"""The LightningModule: one loss from the sums and counts of the tasks, and their means over whole epochs."""

import logging
from collections.abc import Callable, Mapping
from math import isclose
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from salt.balancing import Rule, make_balancing, weighted_losses
from salt.batch import JetBatch
from salt.errors import ConfigError
from salt.inputs import Input, Target
from salt.metrics import Figure
from salt.model import JetTagger
from salt.nn import EncoderFactory, PoolingFactory
from salt.nn.buckets import to_device
from salt.optim import OneCycle, OptimizerFactory, Schedule
from salt.optim.averaging import Which, choose_weights, weights_to_go_on
from salt.optim.length import is_endless, steps_in_all
from salt.optim.optimizers import FIRST, build_optimizer, check_same_class, class_name, steer, take_settings
from salt.parts import how_many, losses_in_parts, sums_in_parts
from salt.saved import CHECKPOINT_FORMAT, check_header, check_shapes, different_buffers, signature
from salt.tally import Results, Tally, names
from salt.tasks import Task, TaskFactory

log = logging.getLogger(__name__)


class Tagger(LightningModule):
    """A jet tagger with its training: inputs are normalised, embedded, encoded and pooled, and every task adds a head.

    Args:
        embed_dim: Width of the embedding of a constituent, and of everything after it.
        tasks: What to learn; the key of a task is its name.
        pooling: How the constituents of a jet become one vector.
        encoder: Layers in which the constituents of a jet see each other; null for none (deep sets).
        embed_hidden: Widths of hidden layers between the inputs and the embedding.
        registers: Number of learned rows that each jet has beside its constituents, encoded and pooled with them. They
            let a jet be described as a whole, and its constituents be counted.
        lrs_config: Learning rate, momentum and weight decay: the arguments of `OneCycle`, or another schedule by its
            class; null for `OneCycle` as it is.
        optimizer: What steps the parameters; null for AdamW. Rate and weight decay are those of `lrs_config`.
        balancing: How the tasks are weighed against each other beside their weights: uncertainty for a learned variance
            of each (arXiv:1705.07115), geometric for the geometric mean of their losses (arXiv:1904.08492); null for
            their weights alone.
        inputs: Set from `data.inputs`.
        name: Set from `name`.
        compile: Set from `compile`.
    """

    def __init__(
        self,
        embed_dim: int,
        tasks: dict[str, TaskFactory],
        pooling: PoolingFactory,
        encoder: EncoderFactory | None = None,
        embed_hidden: list[int] | None = None,
        registers: int = 0,
        lrs_config: Schedule | None = None,
        optimizer: OptimizerFactory | None = None,
        balancing: Rule | None = None,
        inputs: dict[str, Input] | None = None,
        name: str = "salt",
        compile: bool = False,  # noqa: A002
    ) -> None:
        super().__init__()
        self.name = name
        self.lrs_config = lrs_config or OneCycle()
        self.optimizer_factory = optimizer
        self.which_weights: Which | None = None
        self._saved_optimizer: str | None = None
        self._saved_rate: float | None = None
        self.model = JetTagger(
            inputs=inputs or {},
            embed_dim=embed_dim,
            encoder=encoder,
            pooling=pooling,
            tasks=tasks,
            embed_hidden=embed_hidden,
            registers=registers,
        )
        self.balancing = make_balancing(balancing, len(tasks))
        self.compiled = compile
        if compile:
            self.model.compile_parts()
        self.without_targets: frozenset[str] = frozenset()  # Tasks of the last validation or test that had none.
        self._told: set[str] = set()
        self._measured: Results | None = None
        self._embed_dim = embed_dim
        self.tally = Tally()
        self._trained: list[Tensor] = []

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks by their names."""
        return self.model.named_tasks

    @property
    def targets(self) -> tuple[Target, ...]:
        """What must be read of the files to train it."""
        return self.model.targets

    def setup(self, stage: str) -> None:
        """Takes over the statistics of the training files. A checkpoint, loaded later, replaces them by its own."""
        if stage == "fit":
            if is_endless(self.trainer) and self.lrs_config.needs_total:
                raise ConfigError(
                    "the learning-rate schedule needs to know its length: set trainer.max_epochs or max_steps"
                )
            if self.trainer.gradient_clip_algorithm is not None and not self.trainer.gradient_clip_val:
                raise ConfigError("trainer.gradient_clip_algorithm does nothing without trainer.gradient_clip_val")
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            self.model.adopt(data.statistics)
            self.model.measure(data.sample)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the weights are for, so that a config that does not fit them is found by name."""
        trained = [totals.cpu() for totals in self._trained]
        checkpoint["salt"] = {"format": CHECKPOINT_FORMAT, "model": signature(self.model), "trained": trained}
        fit = None if self._trainer is None or self._trainer.state.fn != "fit" else self._trainer.fit_loop
        if fit is not None and fit._data_fetcher is not None:
            checkpoint["salt"] |= {"optimizer": class_name(self.trainer.optimizers[0]), "rate": self._rate()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compares the config with what the weights were trained for.

        Raises:
            ConfigError: They differ; the message names the first difference.
        """
        header: Any = checkpoint.get("salt")
        check_header(header, signature(self.model))
        check_shapes(self.state_dict(), checkpoint["state_dict"])
        self._trained = header.get("trained", [])  # Of an epoch that is over: forgotten as the next one begins.
        if self._trainer is not None and self._trainer.training:
            weights_to_go_on(checkpoint)
            self._saved_optimizer, self._saved_rate = header.get("optimizer", FIRST), header.get("rate")
            if stay := different_buffers(self, checkpoint["state_dict"], checkpoint["state_dict"]):
                log.warning(_STAY, ", ".join(stay))
        elif (words := choose_weights(checkpoint, self.which_weights)) is not None:
            log.info("weights: %s", words)

    def training_step(self, batch: JetBatch, batch_idx: int) -> Tensor:
        """The loss whose gradient, averaged over devices, is that of the mean over the whole global batch."""
        own_counts = torch.stack([task.count(batch).double() for task in self.tasks.values()])
        counts = self._over_devices(own_counts)
        weights = self._weights(counts)
        # Lightning averages gradients over devices; the counts are those of all of them.
        share = self.trainer.world_size / counts.clamp(min=_TINY)

        def scale(sums: Tensor | None) -> Tensor:
            means = counts if sums is None else self._over_devices(sums.to(counts, copy=True)) / counts.clamp(min=_TINY)
            return (self._factors(weights, means, counts > 0) * share).to(self._float)

        balancing = self.balancing
        waits = balancing is not None and balancing.needs_losses
        sums, loss = self._losses(batch, scale if waits else scale(None))
        totals = torch.stack([self._over_devices(sums.double()), counts], dim=1)
        means = totals[:, 0] / counts.clamp(min=_TINY)
        self._trained = [sum(self._trained, totals)]
        if balancing is not None:
            loss = loss + balancing.own(weights, means, counts > 0).to(loss.dtype)
        if self._is_logged:
            total = self._whole_loss((weights * means).sum())
            self.log("train/loss", total, batch_size=len(batch), prog_bar=True)
            weighted = self._factors(weights, means, counts > 0) * means
            for name, before, after in zip(self.tasks, means, weighted, strict=True):
                values = {f"train/{name}/loss": before, f"train/{name}/weighted_loss": after}
                self.log_dict(values, batch_size=len(batch))
        return loss

    def _whole_loss(self, of_tasks: Tensor) -> Tensor:
        """The loss of the step in hand, where there is more than the tasks."""
        return of_tasks

    def _factors(self, weights: Tensor, means: Tensor, there: Tensor) -> Tensor:
        """[K] what the mean loss of each task counts in the total: the derivative of that, without gradient."""
        return weights if self.balancing is None else self.balancing.factors(weights, means, there)

    def _losses(self, batch: JetBatch, scale: Tensor | Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The [K] sums of the losses of the tasks, and the loss of the step."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        threads, number = how_many(
            batch, data.most_constituents, data.batches_per_step, self.model, in_threads=not self.compiled
        )
        if number == 1:
            sums = self._sums(batch)
            factors = scale if isinstance(scale, Tensor) else scale(sums.detach())
            return sums.detach(), (sums * factors).sum()
        parts = batch.parts(number)
        if not isinstance(scale, Tensor):
            scale = scale(sums_in_parts(parts, self._sums, threads))
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return losses_in_parts(
            parts,
            self._sums,
            scale,
            [p for p in self.parameters() if p.requires_grad],
            threads,
            1.0 if scaler is None else scaler.get_scale(),
        )

    def _sums(self, batch: JetBatch) -> Tensor:
        return self._sums_of(self.model(batch), batch)

    def _sums_of(self, raw: Mapping[str, Any], batch: JetBatch) -> Tensor:
        return torch.stack([task.loss(raw[name], batch).sum for name, task in self.tasks.items()])

    @property
    def _float(self) -> torch.dtype:
        return torch.promote_types(next(self.parameters()).dtype, torch.float32)

    def _weights(self, like: Tensor) -> Tensor:
        """The [K] weights of the tasks; on a GPU a copy for which the host does not wait."""
        weights = torch.tensor([task.weight for task in self.tasks.values()], dtype=like.dtype)
        return to_device(weights, like.device)

    def validation_step(self, batch: JetBatch, batch_idx: int) -> None:
        """Adds the batch to the means of the epoch."""
        if self.trainer.state.fn == "validate":
            self._doubt(batch, batch_idx)
        self._add("val", self.model(batch), batch)

    def test_step(self, batch: JetBatch, batch_idx: int) -> dict[str, Any]:
        """Scores the batch; targets that the file has are added to the means."""
        self._doubt(batch, batch_idx)
        raw: dict[str, Any] = self.model(batch)
        self._add("test", raw, batch)
        return raw

    def predict_step(self, batch: JetBatch, batch_idx: int) -> dict[str, Any]:
        """Scores the batch."""
        self._doubt(batch, batch_idx)
        raw: dict[str, Any] = self.model(batch)
        return raw

    def _doubt(self, batch: JetBatch, batch_idx: int) -> None:
        """Warns where the first jets to be scored do not look like those of the training."""
        if batch_idx == 0 and (strange := self.model.strange_inputs(batch)):
            log.warning(
                "the values of %s have another scale than in the training: another unit, or normalised values "
                "without the data.norm_dict of their file?",
                ", ".join(strange),
            )

    def on_validation_epoch_end(self) -> None:
        """Logs what was measured of the validation jets of all devices; on the first one `figures` can be asked for."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Logs what was measured of the test jets of all devices; on the first one `figures` can be asked for."""
        self._log_epoch("test")

    def _add(self, stage: str, raw: Mapping[str, Any], batch: JetBatch) -> None:
        for name, task in self.tasks.items():
            if all(target in batch.labels for target in task.targets if target.learnt):
                measured = dict(task.metrics(raw[name], batch))
                if all(target in batch.labels for target in task.targets):
                    measured["loss"] = task.loss(raw[name], batch)
                self.tally.add(f"{stage}/{name}", measured)

    def _log_epoch(self, stage: str) -> None:
        results = self.tally.take(self.trainer.world_size, self._over_devices)
        values = dict(results.values)
        if not values:
            return
        there = [name for name in self.tasks if f"{stage}/{name}/loss" in values]
        self.without_targets = frozenset(name for name in there if f"{stage}/{name}/loss" in results.empty)
        if self.without_targets and stage not in self._told and not self.trainer.sanity_checking:
            self._told.add(stage)
            log.warning("no target of %s: left out of %s/loss", ", ".join(sorted(self.without_targets)), stage)
        means = {name: values[f"{stage}/{name}/loss"] for name in there if name not in self.without_targets}
        weights = {name: task.weight for name, task in self.tasks.items()}
        weighted = weighted_losses(self.balancing, weights, means)
        values |= {f"{stage}/{name}/weighted_loss": weighted.get(name, float("nan")) for name in there}
        values[f"{stage}/loss"] = sum(weights[n] * mean for n, mean in means.items()) if means else float("nan")
        values |= self._further(stage, values)
        self._measured = results.on_host() if self.trainer.is_global_zero else None
        for key, value in values.items():
            self.log(key, value, prog_bar=key == f"{stage}/loss", rank_zero_only=False)

    def _further(self, stage: str, values: Mapping[str, float]) -> dict[str, float]:
        """What follows from the values of a validation or test; it replaces those of the same names."""
        return {}

    def metric_names(self, stage: str) -> tuple[str, ...]:
        """What is logged after each validation (``val``) or test (``test``), whatever the jets."""
        variables = {name: len(module.variables) for name, module in self.model.normalise.items()}  # type: ignore[arg-type]
        each = [f"{n}/{key}" for n, task in self.tasks.items() for key in names(task, self._embed_dim, variables)]
        each += [f"{name}/weighted_loss" for name in self.tasks]
        return tuple(f"{stage}/{key}" for key in ["loss", *each])

    @property
    def figures(self) -> Mapping[str, Figure]:
        """What can be drawn of the last validation or test, made when it is asked for; nothing but on the first device.

        Names are such as ``val/jets_classification/confusion``.
        """
        return {} if self._measured is None else self._measured.figures()

    @property
    def errors(self) -> Mapping[str, float]:
        """Statistical errors of some metrics of the last validation or test; nothing but on the first device."""
        return {} if self._measured is None else self._measured.errors()

    def _over_devices(self, values: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return values
        reduced: Tensor = self.trainer.strategy.reduce(values, reduce_op="sum")
        return reduced

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """That of the config; matrices decay, biases and norms do not."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = build_optimizer(self.optimizer_factory, parameters, self.lrs_config)
        if self._saved_optimizer is not None:
            check_same_class(optimizer, self._saved_optimizer)
        return optimizer

    def on_train_start(self) -> None:
        """After a resume takes settings from the config, and goes on where the epoch was left."""
        if self._saved_optimizer is not None:
            for optimizer in self.trainer.optimizers:
                take_settings(optimizer, self.configure_optimizers())
        self._say_rate()
        self._trained = [totals.to(self.device) for totals in self._trained]
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        if progress.current.completed and not progress.is_last_batch:
            self.trainer.train_dataloader.first_step = progress.current.completed  # type: ignore[union-attr]

    def on_train_epoch_start(self) -> None:
        """Begins the mean over the epoch."""
        self._trained = []

    @property
    def epoch_totals(self) -> Tensor:
        """[K, 2] sums of the losses of this epoch so far and their counts, over all devices; not before a step."""
        return self._trained[0]

    @property
    def epoch_loss(self) -> float:
        """The loss of the steps of this epoch so far, each task's a mean over all of its targets; NaN before any."""
        if not self._trained:
            return float("nan")
        sums, counts = self._trained[0].T.cpu()
        return sum(t.weight * float(s / n) for t, s, n in zip(self.tasks.values(), sums, counts, strict=True) if n > 0)

    def on_train_batch_start(self, batch: JetBatch, batch_idx: int) -> None:
        """Sets rate and momentum, which depend on nothing but the step, the devices and the length of the training."""
        rate = self._rate()
        momentum = self.lrs_config.momentum(self.trainer.global_step, self.total_steps)
        for optimizer in self.trainer.optimizers:
            steer(optimizer, rate, momentum)
        if self._is_logged:
            self.log("train/learning_rate", rate, batch_size=len(batch))

    def _rate(self) -> float:
        """The learning rate of the next step."""
        return self.lrs_config.rate(self.trainer.global_step, self.total_steps, self._replicas)

    @property
    def _replicas(self) -> int:
        """Devices that share a step; those that hold one model together count as one."""
        kwargs = self.trainer.distributed_sampler_kwargs
        return int(kwargs["num_replicas"]) if kwargs else 1

    def _say_rate(self) -> None:
        """Says what the learning rate will be, and by how much it jumps where a training goes on."""
        if not self.trainer.is_global_zero:
            return
        words = self.lrs_config.describe(self.total_steps, self._replicas)
        log.info("learning rate of %s: %s", type(self.trainer.optimizers[0]).__name__, words)
        rate, saved = self._rate(), self._saved_rate
        if self.trainer.global_step:
            log.info("step %d: learning rate %.4g", self.trainer.global_step, rate)
        if saved is not None and not isclose(rate, saved, rel_tol=1e-6):
            log.info("the learning rate jumps from %.4g to %.4g: schedule, length or devices have changed", saved, rate)

    @property
    def _is_logged(self) -> bool:
        """Whether anybody looks at the values of this step, since handing them over takes milliseconds."""
        trainer = self.trainer
        step = trainer.fit_loop.epoch_loop._batches_that_stepped + 1
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return trainer.progress_bar_callback is not None or step % max(1, every) == 0 or trainer.is_last_batch

    @property
    def total_steps(self) -> int | None:
        """Optimiser steps of the whole training, from its first epoch; None if it has no end."""
        return steps_in_all(self.trainer)


_TINY = 1e-12
_STAY = (
    "the resumed model keeps the normalisation and class weights of its checkpoint; those of the config or data differ "
    "in %s"
)
