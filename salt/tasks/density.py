"""Distributions of the variables of a constituent, of which a network gives the parameters.

All variables are normalised. **A** contexts, **N** of them that have a target, **K** components, **P** variables.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from salt.nn.dense import at_least_float32

NARROWEST = 1e-3
"""A component is at least as wide, in standard deviations of the variable, so that no density grows without bound."""


class Density(nn.Module, ABC):
    """A distribution of P variables.

    Attributes:
        size: How many parameters it has.
    """

    size: int

    @abstractmethod
    def log_likelihood(self, raw: Tensor, truth: Tensor) -> Tensor:
        """[N, size] parameters and [N, P] values to [N] logarithms of a density or probability."""

    @abstractmethod
    def point(self, raw: Tensor) -> Tensor:
        """[A, size] to [A, P] likely values, with gradient: those that are fed back."""

    def begin(self, bias: Tensor) -> None:
        """Sets the [size] biases of the layer that gives the parameters, before anything is learnt."""

    def adopt(self, values: Tensor) -> None:
        """Takes over what it needs to know of the [T, P] values of the training files."""

    @property
    def measures(self) -> bool:
        """Whether it asks for these values."""
        return False


class Mixture(Density):
    """A mixture of components in each of which the variables are independent and have logistic distributions.

    The tails of these are exponential: track variables have outliers, on which those of a normal distribution break.

    Args:
        variables: P.
        components: K.
    """

    def __init__(self, variables: int, components: int) -> None:
        super().__init__()
        self.shape = (components, variables)
        self.size = components * (1 + 2 * variables)

    def begin(self, bias: Tensor) -> None:
        """Spreads the components."""
        components, variables = self.shape
        bias[components : components * (1 + variables)] = torch.randn(components * variables)

    def log_likelihood(self, raw: Tensor, truth: Tensor) -> Tensor:
        """The logarithm of the density."""
        logits_NK, mean_NKP, width_NKP = self._split(raw)
        z = (truth[:, None] - mean_NKP) / width_NKP
        each = -z - 2 * functional.softplus(-z) - width_NKP.log()
        return torch.logsumexp(logits_NK.log_softmax(-1) + each.sum(-1), -1)

    def point(self, raw: Tensor) -> Tensor:
        """The centre of the most probable component."""
        logits_AK, mean_AKP, _ = self._split(raw)
        chosen = logits_AK.argmax(-1)[:, None, None].expand(-1, 1, mean_AKP.shape[2])
        return mean_AKP.gather(1, chosen).squeeze(1)

    def _split(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        components, variables = self.shape
        raw = at_least_float32(raw)
        logits, mean, width = raw.split([components, components * variables, components * variables], -1)
        wide = NARROWEST + functional.softplus(width)
        return logits, mean.unflatten(-1, self.shape), wide.unflatten(-1, self.shape)


class Bins(Density):
    """For each variable the probabilities of intervals, which hold about as many values of the training files each.

    Args:
        variables: P.
        bins: Number of intervals of each variable.
    """

    edges: Tensor
    centres: Tensor

    def __init__(self, variables: int, bins: int) -> None:
        super().__init__()
        self.shape = (variables, bins)
        self.size = variables * bins
        between = torch.arange(1, bins) / bins
        middle = (torch.arange(bins) + 0.5) / bins
        self.register_buffer("edges", between.logit().expand(variables, -1).contiguous())
        self.register_buffer("centres", middle.logit().expand(variables, -1).contiguous())

    @property
    def measures(self) -> bool:
        """For the edges."""
        return True

    def adopt(self, values: Tensor) -> None:
        """Takes quantiles: the edges at 1/n, 2/n ... of the values, the centres half-way between."""
        bins = self.shape[1]
        levels = torch.arange(1, 2 * bins, dtype=torch.float64) / (2 * bins)
        ranks = (levels * (len(values) - 1)).round().long()
        quantiles = values.double().sort(0).values[ranks].T.to(self.edges.dtype)
        self.centres.copy_(quantiles[:, ::2])
        self.edges.copy_(quantiles[:, 1::2])

    def log_likelihood(self, raw: Tensor, truth: Tensor) -> Tensor:
        """The logarithm of the probability of the intervals in which the values are."""
        log_NPb = self._logits(raw).log_softmax(-1)
        bin_NP = torch.searchsorted(self.edges, truth.T.contiguous().to(self.edges.dtype), right=True).T
        found: Tensor = log_NPb.gather(-1, bin_NP[..., None]).squeeze(-1).sum(-1)
        return found

    def point(self, raw: Tensor) -> Tensor:
        """The centres of the most probable intervals, with the gradient of the mean (arXiv:1308.3432)."""
        logits_APb = self._logits(raw)
        mean_AP = (logits_APb.softmax(-1) * self.centres).sum(-1)
        likeliest_AP: Tensor = self.centres.T.gather(0, logits_APb.argmax(-1))
        return mean_AP + (likeliest_AP - mean_AP).detach()

    def _logits(self, raw: Tensor) -> Tensor:
        logits: Tensor = at_least_float32(raw).unflatten(-1, self.shape)
        return logits
