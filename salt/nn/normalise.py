"""Input variables on a common scale."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from salt.errors import DataError, unknown
from salt.statistics import Scale

ENOUGH = 50
"""Fewer values say nothing of a distribution."""

FAR = 5.0
"""Standard deviations between the mean of some values and that of the training that are not by chance."""

SPREAD = 20.0
"""A deviation so much larger or smaller than that of the training is one of other units."""


class Normalise(nn.Module):
    """Maps each variable x to (x - mean) / std, in the type of the buffers or of x, whichever is wider.

    The scales are buffers, so checkpoints hold them. Until `adopt` it changes nothing and ``fitted`` is False.

    Args:
        name: Name of the input, for messages.
        variables: Names of its F variables.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, name: str, variables: Sequence[str]) -> None:
        super().__init__()
        self.name = name
        self.variables = tuple(variables)
        self.register_buffer("mean", torch.zeros(len(variables)))
        self.register_buffer("std", torch.ones(len(variables)))
        self.register_buffer("fitted", torch.tensor(False))

    def adopt(self, scales: Mapping[str, Scale]) -> None:
        """Takes over the scale of each variable; DataError where one is missing or cannot divide."""
        for variable in self.variables:
            if variable not in scales:
                raise DataError(unknown("variable", variable, scales, f"in the normalisation of '{self.name}'"))
            scale = scales[variable]
            if not (math.isfinite(scale.mean) and 0 < scale.std < math.inf):
                raise DataError(
                    f"normalisation of variable '{variable}' of input '{self.name}' has mean {scale.mean} and "
                    f"std {scale.std}; both must be finite and std above 0\n"
                    "leave a variable that never changes out of data.inputs"
                )
        self.mean.copy_(torch.tensor([scales[v].mean for v in self.variables], dtype=self.mean.dtype))
        self.std.copy_(torch.tensor([scales[v].std for v in self.variables], dtype=self.std.dtype))
        self.fitted.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """[..., F] to [..., F]."""
        return (x - self.mean) / self.std

    def strange(self, x: Tensor) -> list[str]:
        """The variables of which these [N, F] values have another scale than those of the training.

        A variable that is the same in all of them, as a rare flag may be, is none.
        """
        if len(x) < ENOUGH:
            return []
        deviation, mean = torch.std_mean(self(x.detach()).double(), 0)
        wide = (deviation > SPREAD) | ((deviation > 0) & (deviation < 1 / SPREAD))
        return [v for v, far in zip(self.variables, ((mean.abs() > FAR) | wide).tolist(), strict=True) if far]
