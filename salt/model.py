"""The network: normalise, embed, encode, pool, and a head for each task."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from salt.batch import JetBatch
from salt.errors import ConfigError, DataError, unknown
from salt.graphs import prepare_compiling
from salt.inputs import JETS, Input, Target, check_inputs
from salt.nn.dense import Dense
from salt.nn.embed import Embed
from salt.nn.encoder import EncoderFactory, PoolingFactory
from salt.nn.normalise import Normalise
from salt.ragged import merge, repeat_rows
from salt.statistics import Statistics
from salt.tasks.base import Embedding, Task, TaskFactory
from salt.tasks.weights import measure_weights


class JetTagger(nn.Module):
    """A model of jets and any number of constituent inputs, with one head for each task.

    The constituents of all inputs are embedded, with the variables of their jet attached, and encoded together; the
    pooled jet and the encoded constituents go to the tasks. Without constituents the embedded jet variables take the
    place of the pooled jet, and there is no encoder and no pooling.

    Args:
        inputs: The inputs by name, ``jets`` among them.
        embed_dim: Width of the embedding.
        encoder: Makes the encoder; None for none (deep sets).
        pooling: Makes the pooling.
        tasks: What makes each task, by its name.
        embed_hidden: Widths of the hidden layers that embed variables; one of twice the width if not given.
        registers: Number of learned rows that each jet has beside its constituents: they are encoded and pooled with
            these, and no task sees them (Darcet et al. 2023, arXiv:2309.16588).

    Raises:
        ConfigError: Names or sizes that cannot make a model.
    """

    def __init__(
        self,
        inputs: Mapping[str, Input],
        embed_dim: int,
        encoder: EncoderFactory | None,
        pooling: PoolingFactory,
        tasks: Mapping[str, TaskFactory],
        embed_hidden: Sequence[int] | None = None,
        registers: int = 0,
    ) -> None:
        super().__init__()
        check_inputs(inputs)
        if embed_dim < 1:
            raise ConfigError(f"embed_dim is {embed_dim}; it must be at least 1")
        if registers < 0 or (registers and len(inputs) == 1):
            raise ConfigError(f"registers is {registers}; it is at least 0, and 0 for a model without constituents")
        if not tasks:
            raise ConfigError("there are no tasks; name at least one under model.tasks")
        hidden = [2 * embed_dim] if embed_hidden is None else list(embed_hidden)
        jet_variables = len(inputs[JETS].variables)
        self.constituents = tuple(name for name in inputs if name != JETS)
        self.normalise = _by_name("input", {k: Normalise(k, v.variables) for k, v in inputs.items()})
        if self.constituents:
            self.embed = _by_name(
                "input",
                {k: Embed(len(inputs[k].variables), jet_variables, embed_dim, hidden) for k in self.constituents},
            )
            self.registers = nn.Parameter(0.01 * torch.randn(registers, embed_dim)) if registers else None
            self.encoder = None if encoder is None else encoder(embed_dim=embed_dim)
            self.pooling = pooling(embed_dim=embed_dim)
        else:
            self.embed = _by_name("input", {JETS: Dense(jet_variables, hidden, embed_dim)})
        self.tasks = _by_name("task", {k: make(name=k, embed_dim=embed_dim) for k, make in tasks.items()})
        for name, task in self.named_tasks.items():
            if task.input not in inputs:
                raise ConfigError(unknown("input", task.input, inputs, f"of task '{name}'"))
            task.declare(inputs)

    @property
    def named_tasks(self) -> Mapping[str, Task]:
        """The tasks by their names, in the order of the config."""
        return {name: task for name, task in self.tasks.items() if isinstance(task, Task)}

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the tasks need to be told, each once, in the order of the tasks."""
        return tuple(dict.fromkeys(target for task in self.named_tasks.values() for target in task.targets))

    @property
    def weighed_targets(self) -> tuple[Target, ...]:
        """Those of which the tasks want the weights of the class dict."""
        return tuple(dict.fromkeys(target for task in self.named_tasks.values() for target in task.weighed_targets))

    @property
    def fitted(self) -> bool:
        """Whether it knows the scales of its inputs; before that its outputs mean nothing."""
        return all(bool(module.fitted) for module in self.normalise.values())

    def adopt(self, statistics: Statistics) -> None:
        """Takes over normalisation, class weights and target scales, all of which its state holds from then on."""
        for name, module in self.normalise.items():
            if name not in statistics.inputs:
                raise DataError(unknown("input", name, statistics.inputs, "in the normalisation"))
            if isinstance(module, Normalise):
                module.adopt(statistics.inputs[name])
        for task in self.named_tasks.values():
            task.adopt(statistics)

    def measure(self, batches: Callable[[], Iterable[JetBatch]]) -> None:
        """Lets the tasks measure what they need to know beside the statistics.

        Args:
            batches: Goes through some training jets, with their labels.
        """
        measure_weights(self.named_tasks.values(), batches)
        for task in self.named_tasks.values():
            task.measure(batches)

    def compile_parts(self) -> None:
        """Compiles what embeds, encodes, pools and the tasks, in place: names of parameters stay the same."""
        prepare_compiling()
        parts = [*self.embed.values(), *self.tasks.values()]
        if self.constituents:
            parts += [self.pooling] if self.encoder is None else [self.encoder, self.pooling]
        for part in parts:
            part.compile(dynamic=True)

    def strange_inputs(self, batch: JetBatch) -> list[str]:
        """The variables whose values in a batch have another scale than in the training, as ``input.variable``."""
        values = {JETS: batch.jets, **{name: rows.values for name, rows in batch.constituents.items()}}
        return [
            f"{name}.{variable}"
            for name, module in self.normalise.items()
            if isinstance(module, Normalise)
            for variable in module.strange(values[name])
        ]

    def forward(self, batch: JetBatch) -> dict[str, Any]:
        """The raw outputs of each task, by its name."""
        shared: list[Embedding] = []  # That of the batch, made once if a task asks for it.

        def embed(jets: JetBatch) -> Embedding:
            if jets is not batch:
                return self.embedding(jets)
            if not shared:
                shared.append(self.embedding(batch))
            return shared[0]

        return {name: task.outputs(batch, embed) for name, task in self.named_tasks.items()}

    def embedding(self, batch: JetBatch) -> Embedding:
        """What the tasks see."""
        jets_BF: Tensor = self.normalise[JETS](batch.jets)
        if not self.constituents:
            return Embedding(self.embed[JETS](jets_BF), {})
        parts = []
        for name in self.constituents:
            rows = batch.constituents[name]
            normalised = rows.with_values(self.normalise[name](rows.values))
            parts.append(self.embed[name](normalised, jets_BF))
        own = [] if self.registers is None else [repeat_rows(self.registers.to(parts[0].values.dtype), parts[0])]
        encoded, positions = merge([*own, *parts])
        if self.encoder is not None:
            encoded = self.encoder(encoded)
        jets_BD: Tensor = self.pooling(encoded)
        if len(parts) == 1 and self.registers is None:
            return Embedding(jets_BD, {self.constituents[0]: encoded})
        split = [
            part.with_values(encoded.values.index_select(0, position))
            for part, position in zip(parts, positions[len(own) :], strict=True)
        ]
        return Embedding(jets_BD, dict(zip(self.constituents, split, strict=True)))


def _by_name(what: str, modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """A ModuleDict; ConfigError for a name that PyTorch cannot give to a module."""
    out = nn.ModuleDict()
    for name, module in modules.items():
        if not name or "." in name or hasattr(out, name):
            raise ConfigError(f"{what} '{name}': the name is reserved, empty, or has a dot in it; choose another one")
        out[name] = module
    return out
