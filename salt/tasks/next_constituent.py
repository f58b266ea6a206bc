"""Constituents predicted from others of the same jet, which needs no labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from salt.batch import JetBatch
from salt.errors import ConfigError, DataError, unknown
from salt.inputs import JETS, STANDARD_CLASSES, Input, Target
from salt.nn.buckets import to_device
from salt.nn.dense import Dense, at_least_float32
from salt.statistics import Statistics
from salt.tasks.base import Column, Embedding, Loss, Share, Task
from salt.tasks.contexts import (
    EVALUATION,
    Step,
    draw,
    masked_steps,
    number_of,
    ordered,
    rollout_steps,
    with_constituents,
)
from salt.tasks.curriculum import Rollout
from salt.tasks.density import Bins, Density, Mixture
from salt.tasks.head import check_weight

COMPONENTS = 8
BINS = 32

Raw = tuple[Tensor, ...]
"""[A, outputs] of each step."""


class NextConstituent(Task):
    """Predicts constituents of a jet from others of it: for the training of an encoder without labels.

    Of each jet the first s constituents, in a fixed order, are given to the model as if they were the jet, with s drawn
    anew in each epoch. From the pooled jet the variables of the next one are predicted, and whether there is a next.
    Rolled out, the prediction becomes a constituent, and the one after it is predicted. The loss is minus the
    logarithm of the likelihood, a mean over the predictions of all steps. The variables of the jet and all other inputs
    are given as they are.

    Args:
        input: Name of the input of constituents.
        prognostic: The variables that are predicted and fed back; null for all of the input. The others are read of
            true constituents only, and have their mean in predicted ones.
        diagnostic: Labels of constituents that are predicted and not fed back, each with its classes, or null for those
            of a standard label: {ftagTruthOriginLabel: null}.
        objective: next for the next constituent; masked for any one of the jet, from all of its others.
        order: The variable of the input by which constituents are ordered, the largest first; null for pt.
        min_context: How many constituents are given at least.
        target: What is predicted of a variable: mixture for a density, bins for the probabilities of intervals.
        components: Number of components of the mixture; null for 8.
        bins: Number of intervals of a variable; null for 32.
        rollout: For how many steps it is rolled out; null for one.
        detach: Whether gradients end at the constituents that were fed back.
        weight: Weight of the task in the total loss.
        hidden: Widths of the hidden layers.
        activation: Activation of the hidden layers: relu, leaky_relu, elu, gelu, silu or tanh.
        dropout: Probability to drop a hidden unit.
        name: Name of the task, set by the model.
        embed_dim: Width of the embedding, set by the model.
    """

    places: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input: str,  # noqa: A002
        prognostic: list[str] | None = None,
        diagnostic: dict[str, list[str] | None] | None = None,
        objective: Literal["next", "masked"] = "next",
        order: str | None = None,
        min_context: int = 1,
        target: Literal["mixture", "bins"] = "mixture",
        components: int | None = None,
        bins: int | None = None,
        rollout: Rollout | None = None,
        detach: bool = False,
        weight: float = 1.0,
        hidden: Sequence[int] = (128, 64),
        activation: str = "relu",
        dropout: float = 0.0,
        *,
        name: str,
        embed_dim: int,
    ) -> None:
        check_weight(name, weight)
        where = f"task '{name}'"
        if input == JETS:
            raise ConfigError(f"{where} is about constituents; its input cannot be '{JETS}'")
        if min_context < 1:
            raise ConfigError(f"{where}: min_context is {min_context}; it is at least 1")
        for key, value, of in (("components", components, "mixture"), ("bins", bins, "bins")):
            if value is not None and (target != of or value < 2 - (of == "mixture")):
                raise ConfigError(f"{where}: {key} {value} has no meaning with target {target}; leave it out")
        rolled = rollout or Rollout()
        masked = objective == "masked"
        for key, given in (("order", order is not None), ("rollout", rolled != Rollout())):
            if masked and given:
                raise ConfigError(f"{where}: {key} has no effect with objective masked; leave it out")
        if detach and rolled.max == 1:
            raise ConfigError(f"{where}: detach has no effect while rollout.max is 1; leave it out")
        labels = tuple(_target(where, input, label, given) for label, given in (diagnostic or {}).items())
        super().__init__(name=name, input=input, weight=weight, targets=labels)
        self.rollout = rolled
        self.masked = masked
        self.order = "pt" if order is None else order
        self.min_context = min_context
        self.detach = detach
        self.epoch = 0
        self.steps = rolled.start
        self._prognostic = prognostic
        self._make_density: Callable[[int], Density] = (
            partial(Mixture, components=components or COMPONENTS)
            if target == "mixture"
            else partial(Bins, bins=bins or BINS)
        )
        self._make_head = partial(Dense, embed_dim, list(hidden), activation=activation, dropout=dropout)

    def declare(self, inputs: Mapping[str, Input]) -> None:
        """Makes the network, whose size follows from the variables of the input.

        Raises:
            ConfigError: The config of the inputs does not fit that of the task.
        """
        spec, where = inputs[self.input], f"of task '{self.name}': input '{self.input}' has none such"
        variables = list(self._prognostic if self._prognostic is not None else spec.variables)
        if not variables or len(set(variables)) < len(variables):
            raise ConfigError(f"task '{self.name}': prognostic is {variables}; name variables, each once")
        for variable in variables:
            if variable not in spec.variables:
                raise ConfigError(unknown("prognostic variable", variable, spec.variables, where))
        if not self.masked and self.order not in spec.variables:
            raise ConfigError(
                unknown("variable", self.order, spec.variables, f"in the order {where}")
                + f"\nadd it to data.inputs.{self.input}.variables, or order by another one"
            )
        self.rollout.check(self.name, spec.max_count)
        self.inputs_variables = tuple(spec.variables)
        self.max_count = spec.max_count
        self.density = self._make_density(len(variables))
        self._sizes = [self.density.size, 0 if self.masked else 1, *(len(t.classes) for t in self.targets)]
        self.head = self._make_head(out_dim=sum(self._sizes))
        bias = list(self.head.parameters())[-1]
        with torch.no_grad():
            self.density.begin(bias)
        columns = torch.tensor([spec.variables.index(v) for v in variables])
        self.register_buffer("places", columns, persistent=False)
        self.register_buffer("mean", torch.zeros(len(spec.variables)))
        self.register_buffer("std", torch.ones(len(spec.variables)))

    def adopt(self, statistics: Statistics) -> None:
        """Takes over the scales of the input's variables."""
        scales = [statistics.inputs[self.input][variable] for variable in self.inputs_variables]
        self.mean.copy_(torch.tensor([scale.mean for scale in scales]))
        self.std.copy_(torch.tensor([scale.std for scale in scales]))

    def measure(self, batches: Callable[[], Iterable[JetBatch]]) -> None:
        """Takes over quantiles of the variables, where intervals are predicted."""
        if not self.density.measures:
            return
        values = torch.cat([batch.constituents[self.input].values for batch in batches()])
        if not len(values):
            raise DataError(f"task '{self.name}': the training files have no constituents of input '{self.input}'")
        self.density.adopt(self._normalised(values.to(self.mean.device)))

    def begin_epoch(self, epoch: int, steps: int) -> None:
        """Says which epoch it is, from which what is given follows, and for how many steps it is rolled out."""
        self.epoch, self.steps = epoch, steps

    def outputs(self, batch: JetBatch, embed: Callable[[JetBatch], Embedding]) -> Raw:
        """Those of each step, which has the predictions of the steps before among its constituents."""
        values = batch.constituents[self.input].values.index_select(0, self._order(batch))
        found: list[Tensor] = []
        for step in self._steps(batch):
            if found:
                fed = self.fed_back(found[-1])
                values = torch.cat([values, (fed.detach() if self.detach else fed).to(values.dtype)])
            found.append(self(embed(with_constituents(batch, self.input, values, step))))
        return tuple(found)

    def forward(self, embedding: Embedding) -> Tensor:
        """[A, outputs] of one step: parameters of the density, logit of whether there is a next, logits of labels."""
        out: Tensor = self.head(embedding.jets)
        return out

    def count(self, batch: JetBatch) -> Tensor:
        """The number of predictions of all steps."""
        return to_device(torch.tensor(number_of(self._steps(batch))), batch.jets.device)

    def loss(self, raw: Raw, batch: JetBatch) -> Loss:
        """Minus the logarithms of the likelihoods."""
        order, steps = self._order(batch), self._steps(batch)
        total = torch.stack([self._surprise(*each, order, batch) for each in zip(raw, steps, strict=True)]).sum()
        return Loss(total, self.count(batch).to(total.dtype))

    def predict(self, raw: Raw) -> Mapping[str, Tensor]:
        """Nothing: there is no value for each jet or constituent."""
        return {}

    def columns(self) -> tuple[Column, ...]:
        """None."""
        return ()

    def metrics(self, raw: Raw, batch: JetBatch) -> Mapping[str, Loss | Share]:
        """By step how unlikely the true variables are, and how far from the predicted ones, in standard deviations."""
        number = 1 if self.masked else self.rollout.validation
        order, steps = self._order(batch), self._steps(batch)
        zero = batch.jets.new_zeros(())
        found: dict[str, Loss | Share] = {}
        right = seen = zero
        for i in range(number):
            unlikely = error = there = zero
            if i < len(raw):
                step = steps[i]
                density, going_on, _ = self._parts(raw[i])
                truth, rows = self._truth(step, order, batch), to_device(step.there, density.device)
                here = density.index_select(0, rows)
                unlikely = -self.density.log_likelihood(here, truth).sum()
                error = (self.density.point(here) - truth).abs().mean(-1).sum()
                there = unlikely.new_full((), len(step.there))
                if not self.masked:
                    right = right + ((going_on > 0) == (self._goes_on(step, density.device) > 0)).sum()
                    seen = seen + len(step.jets)
            found[f"step{i + 1}_nll"] = Loss(unlikely, there)
            found[f"step{i + 1}_error"] = Loss(error, there)
        return found if self.masked else {**found, "end_accuracy": Share(right, seen)}

    def fed_back(self, raw: Tensor) -> Tensor:
        """[A, F] constituents, in the units of the input, that stand for a prediction."""
        return self.constituents_of(self.density.point(self._parts(raw)[0]))

    def constituents_of(self, prognostic: Tensor) -> Tensor:
        """[A, P] normalised prognostic variables to [A, F] constituents in the units of the input."""
        normalised = prognostic.new_zeros(len(prognostic), len(self.mean))
        return normalised.index_copy(1, self.places, prognostic) * self.std + self.mean

    def _surprise(self, raw: Tensor, step: Step, order: Tensor, batch: JetBatch) -> Tensor:
        """The sum over the predictions of a step."""
        density, going_on, labels = self._parts(raw)
        rows = to_device(step.there, raw.device)
        total = -self.density.log_likelihood(density.index_select(0, rows), self._truth(step, order, batch)).sum()
        if not self.masked:
            truth = self._goes_on(step, raw.device).to(going_on.dtype)
            total = total + functional.binary_cross_entropy_with_logits(going_on, truth, reduction="sum")
        places = order.index_select(0, to_device(step.truth, order.device))
        for target, logits in zip(self.targets, labels, strict=True):
            label = batch.labels[target].index_select(0, places)
            here = logits.index_select(0, rows)
            total = total + functional.cross_entropy(here, label, ignore_index=-1, reduction="sum")
        return total

    def _parts(self, raw: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        density, going_on, *labels = at_least_float32(raw).split(self._sizes, -1)
        return density, going_on.flatten(), labels

    def _goes_on(self, step: Step, device: torch.device) -> Tensor:
        """[A] 1 where there is a next constituent, 0 where there is none."""
        return to_device(torch.zeros(len(step.jets)).index_fill(0, step.there, 1.0), device)

    def _truth(self, step: Step, order: Tensor, batch: JetBatch) -> Tensor:
        """[N, P] the normalised prognostic variables of the true constituents."""
        places = order.index_select(0, to_device(step.truth, order.device))
        return self._normalised(batch.constituents[self.input].values.index_select(0, places))

    def _normalised(self, values: Tensor) -> Tensor:
        return ((values - self.mean) / self.std).index_select(1, self.places)

    def _order(self, batch: JetBatch) -> Tensor:
        """[T] the constituents of the batch in the order in which they are predicted."""
        x = batch.constituents[self.input]
        if self.masked:
            return torch.arange(len(x.values), device=x.values.device)
        return ordered(x, self.inputs_variables.index(self.order))

    def _steps(self, batch: JetBatch) -> tuple[Step, ...]:
        offsets = batch.constituents[self.input].host_offsets
        uniform = draw(batch.rows, self.epoch if self.training else EVALUATION)
        if self.masked:
            return masked_steps(offsets, uniform, self.min_context)
        number = self.steps if self.training else self.rollout.validation
        return rollout_steps(offsets, uniform, number, self.min_context, self.max_count)


def _target(where: str, input: str, label: str, classes: Sequence[str] | None) -> Target:  # noqa: A002
    """A diagnostic label."""
    if classes is None and label not in STANDARD_CLASSES:
        raise ConfigError(f"{where}: name the classes of the diagnostic label '{label}', in the order of their codes")
    known = tuple(classes) if classes is not None else tuple(c for _, c in STANDARD_CLASSES[label])
    if len(known) < 2 or len(set(known)) < len(known):
        raise ConfigError(f"{where}: the classes of '{label}' are {list(known)}; there are two or more, each once")
    return Target(input=input, variable=label, kind="class", classes=known)
