"""How the losses of several tasks become one, where fixed weights are not enough."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from salt.errors import ConfigError, unknown

TINY = 1e-12

Rule: TypeAlias = Literal["uncertainty", "geometric"]


class Uncertainty(nn.Module):
    """Each task by the uncertainty that the model learns of it (Kendall, Gal and Cipolla, arXiv:1705.07115).

    The total is ``sum_k w_k (exp(-s_k) L_k + s_k / 2)`` with a learned logarithm s_k of a variance for each task. Where
    it is smallest, ``exp(s_k) = 2 L_k``: every task then counts by its weight w_k, whatever the size of its loss.

    Args:
        number: K, the number of tasks.
    """

    needs_losses = False

    def __init__(self, number: int) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(number))

    def factors(self, weights: Tensor, losses: Tensor, there: Tensor) -> Tensor:
        """[K] derivatives of the total by the losses, without gradient.

        Args:
            weights: [K] of the tasks.
            losses: [K] means of the tasks; only looked at if `needs_losses`.
            there: [K] whether a task has targets at all; the others are left out.
        """
        return weights * (-self.log_variance.detach().to(weights.dtype)).exp()

    def own(self, weights: Tensor, losses: Tensor, there: Tensor) -> Tensor:
        """What is added to the losses times their factors: with it value and gradient are those of the total."""
        variance = self.log_variance.to(weights.dtype)
        known = losses.detach() * (-variance).exp()
        return (weights * there * (known - known.detach() + variance / 2)).sum()


class Geometric(nn.Module):
    """The geometric mean of the losses, all of which must be above 0 (Chennupati et al., arXiv:1904.08492).

    The total is ``exp(sum_k w_k log L_k / sum_k w_k)``. It does not change when a loss is measured in another unit.
    """

    needs_losses = True

    def factors(self, weights: Tensor, losses: Tensor, there: Tensor) -> Tensor:
        """[K] derivatives of the total by the losses, without gradient; see `Uncertainty.factors`."""
        share = weights * there
        share = share / share.sum().clamp(min=TINY)
        losses = torch.where(there, torch.where(losses == 0, TINY, losses), 1.0)
        return (share * losses.log()).sum().exp() * share / losses

    def own(self, weights: Tensor, losses: Tensor, there: Tensor) -> Tensor:
        """Nothing: the losses times their factors sum up to the total."""
        return weights.new_zeros(())


Balancing: TypeAlias = Uncertainty | Geometric


def make_balancing(rule: Rule | None, number: int) -> Balancing | None:
    """What `model.balancing` names, for so many tasks; None for fixed weights.

    Raises:
        ConfigError: There is no such rule, or just one task.
    """
    if rule is None:
        return None
    if rule not in ("uncertainty", "geometric"):
        raise ConfigError("model.balancing: " + unknown("rule", rule, ("uncertainty", "geometric")))
    if number < 2:
        raise ConfigError(f"model.balancing is {rule}, but there is just one task; leave it out")
    return Uncertainty(number) if rule == "uncertainty" else Geometric()


def check_losses(balancing: Balancing | None, losses: Mapping[str, float]) -> None:
    """ConfigError if a task has a loss that the rule cannot have."""
    for name, loss in losses.items():
        if isinstance(balancing, Geometric) and loss < 0:
            raise ConfigError(
                f"task '{name}' has a mean loss of {loss:.4g}, but model.balancing: geometric needs losses above 0; "
                "take uncertainty, or leave it out"
            )


def weighted_losses(
    balancing: Balancing | None, weights: Mapping[str, float], means: Mapping[str, float]
) -> dict[str, float]:
    """The mean losses of tasks times what they count in the total.

    Args:
        balancing: The rule; None for the weights alone.
        weights: Of all tasks, by their names.
        means: Of the tasks that have targets; the others are left out.
    """
    check_losses(balancing, means)
    factors = torch.tensor(list(weights.values()), dtype=torch.float64)
    losses = torch.tensor([means.get(name, 0.0) for name in weights], dtype=torch.float64)
    if balancing is not None:
        there = torch.tensor([name in means for name in weights])
        device = next((p.device for p in balancing.parameters()), losses.device)
        factors = balancing.factors(factors.to(device), losses.to(device), there.to(device)).cpu()
    return {name: float(value) for name, value in zip(weights, factors * losses, strict=True) if name in means}
