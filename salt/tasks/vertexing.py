"""Which constituents of a jet come from the same vertex."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from salt.batch import JetBatch
from salt.errors import ConfigError
from salt.inputs import JETS, Target
from salt.nn.dense import SplitLinear, after_first, at_least_float32, check_sizes
from salt.nn.linear import Linear
from salt.nn.pair_features import pair_features
from salt.ragged import Pairs, pairs, sum_rows
from salt.tasks.base import Column, Embedding, Loss, Task
from salt.tasks.head import check_weight, total


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
        hidden: Widths of the hidden layers.
        activation: Activation of the hidden layers: relu, leaky_relu, elu, gelu, silu or tanh.
        dropout: Probability to drop a hidden unit.
        name: Name of the task, set by the model.
        embed_dim: Width of the embedding, set by the model.
    """

    def __init__(
        self,
        input: str,  # noqa: A002
        label: str = "ftagTruthVertexIndex",
        weight: float = 1.0,
        hidden: Sequence[int] = (128, 64, 32),
        activation: str = "relu",
        dropout: float = 0.0,
        *,
        name: str,
        embed_dim: int,
    ) -> None:
        check_weight(name, weight)
        check_sizes("hidden", hidden)
        if input == JETS:
            raise ConfigError(f"task '{name}': Vertexing groups constituents; its input cannot be '{JETS}'")
        target = Target(input=input, variable=label, kind="index")
        super().__init__(name=name, input=input, weight=weight, targets=(target,))
        self.target = target
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

    def count(self, batch: JetBatch) -> Tensor:
        """The number of pairs whose members both have a label."""
        x = batch.constituents[self.input]
        labelled_B = sum_rows((batch.labels[self.target] >= 0).double(), x.jet_T, x.num_jets)
        return (labelled_B * (labelled_B - 1) / 2).sum().float()

    def loss(self, raw: PairLogits, batch: JetBatch) -> Loss:
        """The binary cross-entropy over pairs whose members both have a label."""
        same, valid = self._truth(raw, batch)
        logits = at_least_float32(raw.logits)
        each = functional.binary_cross_entropy_with_logits(logits, same.to(logits.dtype), reduction="none")
        return Loss(total(each, valid), valid.sum().to(logits.dtype))

    def predict(self, raw: PairLogits) -> Mapping[str, Tensor]:
        """For each constituent the number of its group in its jet, from 0 in the order in which groups first occur."""
        root_T = _components(raw)
        is_root = root_T == torch.arange(len(root_T), device=root_T.device)
        before = torch.cat([is_root.new_zeros(1, dtype=torch.int64), is_root.cumsum(0)])
        first = before.index_select(0, raw.offsets[:-1]).index_select(0, raw.jets)
        return {"VertexIndex": (before.index_select(0, root_T) - first).to(torch.int32)}

    def metrics(self, raw: PairLogits, batch: JetBatch) -> Mapping[str, Loss]:
        """How many true pairs are found, and how many of the found pairs are true."""
        same, valid = self._truth(raw, batch)
        true, found = same & valid, (raw.logits > 0) & valid
        right = (true & found).sum().float()
        return {
            "pair_efficiency": Loss(right, true.sum().float()),
            "pair_purity": Loss(right, found.sum().float()),
        }

    def columns(self) -> tuple[Column, ...]:
        """``VertexIndex``, under that name whatever the model's."""
        return (Column("VertexIndex", "i4", prefixed=False),)

    def _truth(self, raw: PairLogits, batch: JetBatch) -> tuple[Tensor, Tensor]:
        """[P] whether the members share a vertex, and whether both have a label."""
        label = batch.labels[self.target]
        first, second = label.index_select(0, raw.pairs.first), label.index_select(0, raw.pairs.second)
        return first == second, (first >= 0) & (second >= 0)


def _components(raw: PairLogits) -> Tensor:
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
