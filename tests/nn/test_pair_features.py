import contracts
import pytest
import torch

from salt.nn import pair_features as module
from salt.nn.pair_features import pair_features
from salt.ragged import pairs


def test_features_and_gradients_in_pieces(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 4)
    x = contracts.random_rows((4, 0, 1, 5), 3, torch.float64)
    found = pairs(x)
    both, difference = (torch.randn(10, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = [
        both[i] + both[j] + (difference[i] - difference[j]).abs()
        for i, j in zip(found.first.tolist(), found.second.tolist(), strict=True)
    ]
    contracts.close(pair_features(both, difference, found), torch.stack(expected), 1e-12)
    assert torch.autograd.gradcheck(lambda a, b: pair_features(a, b, found), (both, difference))


@pytest.mark.parametrize("counts", [(0, 0), (1, 0)])
def test_no_pairs(counts):
    x = contracts.random_rows(counts, 3, torch.float32)
    both = torch.randn(sum(counts), 3, requires_grad=True)
    pair_features(both, both, pairs(x)).sum().backward()
    assert torch.equal(both.grad, torch.zeros_like(both))


def test_half_precision_sums_its_gradients_in_full():
    x = contracts.random_rows((40,), 2, torch.float32)
    both = torch.zeros(40, 2, dtype=torch.bfloat16, requires_grad=True)
    difference = torch.zeros(40, 2, dtype=torch.bfloat16, requires_grad=True)
    pair_features(both, difference, pairs(x)).backward(torch.full((780, 2), 1.0, dtype=torch.bfloat16))
    assert torch.equal(both.grad, torch.full_like(both, 39.0))
