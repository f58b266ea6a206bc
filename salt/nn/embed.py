"""From normalised variables to the width of the model."""

from collections.abc import Sequence

from torch import Tensor, nn

from salt.nn.dense import ContextDense
from salt.ragged import Ragged


class Embed(nn.Module):
    """Embeds the constituents of one input, with the variables of their jet attached to each.

    Args:
        num_variables: F of the constituents.
        num_jet_variables: F of the jets.
        embed_dim: D.
        hidden: Widths of hidden layers.
        activation: Name of the activation.
    """

    def __init__(
        self,
        num_variables: int,
        num_jet_variables: int,
        embed_dim: int,
        hidden: Sequence[int] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.dense = ContextDense(num_variables, num_jet_variables, hidden, embed_dim, activation)

    def forward(self, constituents: Ragged, jets_BF: Tensor) -> Ragged:
        """[T, F] rows and [B, F] jets to [T, D] rows."""
        return constituents.with_values(self.dense(constituents.values, jets_BF, constituents.jet_T))
