"""One vector for each jet from those of its constituents; zeros for a jet that has none."""

from torch import Tensor

from salt.nn.dense import at_least_float32
from salt.nn.encoder import Pooling
from salt.nn.linear import Linear
from salt.ragged import Ragged, softmax_rows, sum_jets


class SumPooling(Pooling):
    """The sum over the constituents of a jet.

    Args:
        embed_dim: Width, set by the model.
    """

    def __init__(self, *, embed_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim

    def forward(self, x: Ragged) -> Tensor:
        """[T, D] rows to [B, D]."""
        return sum_jets(at_least_float32(x.values), x)


class MeanPooling(Pooling):
    """The mean over the constituents of a jet.

    Args:
        embed_dim: Width, set by the model.
    """

    def __init__(self, *, embed_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim

    def forward(self, x: Ragged) -> Tensor:
        """[T, D] rows to [B, D]."""
        return sum_jets(at_least_float32(x.values), x) / x.counts.clamp(min=1)[:, None]


class AttentionPooling(Pooling):
    """A weighted mean over the constituents of a jet, with weights ``softmax_i(w x_i)``.

    Args:
        sink: Pool one more constituent, of zeros, too. The weights of the others need not add up to one then, so that
            how many they are is not lost.
        embed_dim: Width, set by the model.
    """

    def __init__(self, sink: bool = False, *, embed_dim: int) -> None:
        super().__init__()
        self.sink = sink
        self.score = Linear(embed_dim, 1, bias=False)

    def forward(self, x: Ragged) -> Tensor:
        """[T, D] rows to [B, D]."""
        score_T1 = at_least_float32(self.score(x.values))
        weight_T1 = softmax_rows(score_T1, x.jet_T, x.num_jets, self.sink)
        return sum_jets(weight_T1 * x.values, x)
