"""One loss of several: value and gradient are those of the closed form."""

import pytest
import torch

from salt.balancing import Geometric, Uncertainty, check_losses, make_balancing
from salt.errors import ConfigError

WEIGHTS = torch.tensor([1.0, 0.5, 2.0, 1.5], dtype=torch.float64)
LOSSES = torch.tensor([0.3, 7.0, 1.1, 0.02], dtype=torch.float64)
LOG_VARIANCE = torch.tensor([0.1, -0.4, 1.2, 0.0])
SOME = torch.tensor([True, True, False, True])


def uncertainty(losses, log_variance, there):
    each = WEIGHTS * (torch.exp(-log_variance) * losses + log_variance / 2)
    return each[there].sum()


def geometric(losses, log_variance, there):
    product = torch.prod(losses[there] ** WEIGHTS[there])
    return product ** (1 / WEIGHTS[there].sum())


@pytest.mark.parametrize("there", [torch.ones(4, dtype=torch.bool), SOME])
@pytest.mark.parametrize(("rule", "total"), [("uncertainty", uncertainty), ("geometric", geometric)])
def test_value_and_gradients_are_those_of_the_formula(rule, total, there):
    balancing = make_balancing(rule, 4)
    log_variance = LOG_VARIANCE.double().requires_grad_()
    losses = torch.where(there, LOSSES, 0).requires_grad_()
    expected = total(losses, log_variance, there)
    expected.backward()
    known = torch.where(there, LOSSES, 0)
    if isinstance(balancing, Uncertainty):
        balancing.log_variance.data = LOG_VARIANCE.double()
    factors = balancing.factors(WEIGHTS, known, there)
    own = balancing.own(WEIGHTS, known, there)
    torch.testing.assert_close((factors * known).sum() + own, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(factors[there], losses.grad[there], rtol=1e-12, atol=0)
    assert not factors.requires_grad
    if isinstance(balancing, Uncertainty):
        own.backward()
        torch.testing.assert_close(balancing.log_variance.grad, log_variance.grad, rtol=1e-12, atol=1e-15)


def test_where_the_uncertainties_settle():
    """Every task then counts by its weight over its loss: the gradient of ``sum_k w_k log(L_k) / 2``."""
    balancing = Uncertainty(4).double()
    optimizer = torch.optim.LBFGS(balancing.parameters(), lr=0.5, max_iter=200, tolerance_grad=1e-12)

    def loss():
        optimizer.zero_grad()
        total = (balancing.factors(WEIGHTS, LOSSES, LOSSES > 0) * LOSSES).sum()
        total = total + balancing.own(WEIGHTS, LOSSES, LOSSES > 0)
        total.backward()
        return total

    optimizer.step(loss)
    factors = balancing.factors(WEIGHTS, LOSSES, LOSSES > 0)
    torch.testing.assert_close(factors, WEIGHTS / (2 * LOSSES), rtol=1e-3, atol=0)


def test_a_negative_loss_has_no_geometric_mean():
    factors = Geometric().factors(WEIGHTS, torch.tensor([0.3, -1.0, 1.1, 0.02]).double(), WEIGHTS > 0)
    assert factors.isnan().all()
    losses = {"one": 0.3, "two": -1.0, "none": float("nan")}
    with pytest.raises(ConfigError, match=r"task 'two' has a mean loss of -1, but model.balancing: geometric needs"):
        check_losses(Geometric(), losses)
    check_losses(Uncertainty(3), losses)
    check_losses(None, losses)


def test_rules():
    assert make_balancing(None, 1) is None
    with pytest.raises(ConfigError, match=r"model.balancing: unknown rule 'geometrc'; nearest: geometric"):
        make_balancing("geometrc", 2)
    with pytest.raises(ConfigError, match=r"model.balancing is uncertainty, but there is just one task"):
        make_balancing("uncertainty", 1)
