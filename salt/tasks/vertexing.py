"""Which constituents of a jet come from the same vertex."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from salt.batch import JetBatch
from salt.errors import ConfigError
from salt.graphs import outside_graphs
from salt.inputs import JETS, Target
from salt.metrics import Metric, match_vertices
from salt.nn.dense import SplitLinear, after_first, at_least_float32, check_sizes
from salt.nn.linear import Linear
from salt.nn.pair_features import pair_features
from salt.ragged import Pairs, Ragged, pairs, sum_rows
from salt.tasks.base import Column, Embedding, Loss, Share, Task
from salt.tasks.head import check_weight, total
from salt.tasks.weights import LossWeights, Weighing


@dataclass(frozen=True, eq=False)
class PairLogits:
    """How strongly each pair belongs together.

    Args:
        logits: [P], above 0 for more likely than not.
        pairs: Members of the P pairs, among the T constituents.
        offsets: [B + 1] where the constituents of each jet begin.
        jets: [T] the jet of each constituent.
    """

    logits: Tensor
    pairs: Pairs
    offsets: Tensor
    jets: Tensor


class Vertexing(Task):
    """Groups the constituents of a jet by their vertex, by the binary cross-entropy of unordered pairs.

    A pair is a target if both members have a label; it belongs together if the labels are equal. Predicted groups
    are the connected components of pairs above one half.

    Args:
        input: Name of the input of constituents it is about.
        label: Variable of that input's dataset that numbers the vertices of a jet; negative means no label.
        weight: Weight of the task in the total loss.
        loss_weights: How much each jet, constituent or pair counts in the loss of the task; null for all the same.
        hidden: Widths of the hidden layers.
        activation: Activation of the hidden layers: relu, leaky_relu, elu, gelu, silu or tanh.
        dropout: Probability to drop a hidden unit.
        vertex_share: For the metrics, a vertex is found if more than this share of its constituents make more than this
            share of a predicted group; at least 0.5, so that no two groups are the same vertex.
        name: Name of the task, set by the model.
        embed_dim: Width of the embedding, set by the model.
    """

    def __init__(
        self,
        input: str,  # noqa: A002
        label: str = "ftagTruthVertexIndex",
        weight: float = 1.0,
        loss_weights: LossWeights | None = None,
        hidden: Sequence[int] = (128, 64, 32),
        activation: str = "relu",
        dropout: float = 0.0,
        vertex_share: float = 0.5,
        *,
        name: str,
        embed_dim: int,
    ) -> None:
        check_weight(name, weight)
        check_sizes("hidden", hidden)
        if input == JETS:
            raise ConfigError(f"task '{name}': Vertexing groups constituents; its input cannot be '{JETS}'")
        if not 0.5 <= vertex_share < 1:
            raise ConfigError(f"task '{name}': vertex_share is {vertex_share}; it must be at least 0.5 and below 1")
        target = Target(input=input, variable=label, kind="index")
        weighing = Weighing(name, input, loss_weights)
        super().__init__(name=name, input=input, weight=weight, targets=(target, *weighing.targets))
        self.weighing = weighing
        self.target = target
        self.vertex_share = vertex_share
        width = hidden[0] if hidden else 1
        self.both = SplitLinear(embed_dim, embed_dim, width)
        self.difference = Linear(embed_dim, width, bias=False)
        self.rest = after_first(hidden, 1, activation, dropout)

    def forward(self, embedding: Embedding) -> PairLogits:
        """One logit for each pair, the same whichever member comes first.

        The first layer is ``A_i + A_j + |C_i - C_j|`` with A and C linear in a constituent, A in the pooled jet too.
        """
        x = embedding.constituents[self.input]
        found = pairs(x)
        both_TD = self.both(x.values, embedding.jets, x.jet_T)
        features_PD = pair_features(both_TD, self.difference(x.values), found)
        logits_P: Tensor = self.rest(features_PD).squeeze(-1)
        return PairLogits(logits_P, found, x.offsets, x.jet_T)

    def weights(self) -> dict[str, Any]:
        """Those of the task, and of jets and constituents."""
        return {**super().weights(), **self.weighing.describe()}

    def weigh(self, batch: JetBatch) -> tuple[Tensor, Tensor]:
        """The sum of the weights of the pairs whose members both have a label, and how many they are."""
        x = batch.constituents[self.input]
        labelled_T = (batch.labels[self.target] >= 0).double()
        number_B = _pair_sums(labelled_T, x)
        jets_B, levels_T = self.weighing.jets(batch), self.weighing.levels(batch)
        weight_B = number_B if levels_T is None else _pair_sums(labelled_T * levels_T, x)
        return (weight_B if jets_B is None else weight_B * jets_B).sum(), number_B.sum()

    def count(self, batch: JetBatch) -> Tensor:
        """The sum of those weights, or what loss_weights divides by instead."""
        return self.weighing.divisor(*self.weigh(batch))

    def loss(self, raw: PairLogits, batch: JetBatch) -> Loss:
        """The binary cross-entropy over pairs whose members both have a label.

        The weight of a pair is that of its jet times those of both members by their level.
        """
        same, valid = self._truth(raw, batch)
        logits = at_least_float32(raw.logits)
        each = functional.binary_cross_entropy_with_logits(logits, same.to(logits.dtype), reduction="none")
        jet_and_level_T, level_T = self.weighing.entries(batch), self.weighing.levels(batch)
        if jet_and_level_T is not None:
            each = each * jet_and_level_T.to(logits.dtype).index_select(0, raw.pairs.first)
        if level_T is not None:
            each = each * level_T.to(logits.dtype).index_select(0, raw.pairs.second)
        return Loss(total(each, valid), self.count(batch).to(logits.dtype))

    def predict(self, raw: PairLogits) -> Mapping[str, Tensor]:
        """For each constituent the number of its group in its jet, from 0 in the order in which groups first occur."""
        root_T = components(raw)
        is_root = root_T == torch.arange(root_T.shape[0], device=root_T.device)
        before = torch.cat([is_root.new_zeros(1, dtype=torch.int64), is_root.cumsum(0)])
        first = before.index_select(0, raw.offsets[:-1]).index_select(0, raw.jets)
        return {"VertexIndex": (before.index_select(0, root_T) - first).to(torch.int32)}

    def metrics(self, raw: PairLogits, batch: JetBatch) -> Mapping[str, Loss | Metric]:
        """How many true pairs and vertices are found, and how many of those found are true."""
        same, valid = self._truth(raw, batch)
        true, found = same & valid, (raw.logits > 0) & valid
        right = (true & found).sum().float()
        vertices = match_vertices(raw.jets, batch.labels[self.target], components(raw), self.vertex_share)
        metrics = {
            "pair_efficiency": Loss(right, true.sum().float()),
            "pair_purity": Loss(right, found.sum().float()),
        }
        for k, kind in enumerate(("primary", "secondary")):
            metrics[f"{kind}_efficiency"] = Share(vertices.matched[k], vertices.true[k])
            metrics[f"{kind}_purity"] = Share(vertices.matched[k], vertices.groups[k])
        return metrics

    def columns(self) -> tuple[Column, ...]:
        """``VertexIndex``, under that name whatever the model's."""
        return (Column("VertexIndex", "i4", prefixed=False),)

    def _truth(self, raw: PairLogits, batch: JetBatch) -> tuple[Tensor, Tensor]:
        """[P] whether the members share a vertex, and whether both have a label."""
        label = batch.labels[self.target]
        first, second = label.index_select(0, raw.pairs.first), label.index_select(0, raw.pairs.second)
        return first == second, (first >= 0) & (second >= 0)


def _pair_sums(values_T: Tensor, x: Ragged) -> Tensor:
    """[B] the sum over the pairs of each jet of the product of both members."""
    sums_B = sum_rows(values_T, x.jet_T, x.num_jets)
    return ((sums_B.square() - sum_rows(values_T.square(), x.jet_T, x.num_jets)) / 2).clamp(min=0)


@outside_graphs
def components(raw: PairLogits) -> Tensor:
    """[T] the first constituent of the connected component of each.

    Labels start as row numbers; the smaller one crosses each linked pair, then each row takes the label of its label,
    until nothing changes. That takes about as many rounds as the logarithm of the longest chain.
    """
    linked = raw.logits > 0
    first, second = raw.pairs.first[linked], raw.pairs.second[linked]
    root = torch.arange(len(raw.jets), device=raw.jets.device)
    while True:
        lower = torch.minimum(root.index_select(0, first), root.index_select(0, second))
        new = root.scatter_reduce(0, first, lower, "amin").scatter_reduce(0, second, lower, "amin")
        new = new.index_select(0, new)
        if torch.equal(new, root):
            return root
        root = new
