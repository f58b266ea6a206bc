"""How far scores and a nuisance depend on each other, by no network."""

import torch
from torch import Tensor

TINY = 1e-12


def distance_correlation(scores: Tensor, bins: Tensor) -> Tensor:
    """The squared distance correlation (Székely, Rizzo and Bakirov 2007), between 0 and 1; 0 for less than two jets.

    With the distances a_ij of the scores of two jets and b_ij of their bins, centred so that all rows and columns have
    the mean 0, it is ``sum a_ij b_ij / sqrt(sum a_ij^2 sum b_ij^2)``.

    Args:
        scores: [B, C].
        bins: [B] with -1 for jets that do not count.
    """
    with torch.autocast(scores.device.type, enabled=False):
        weight = (bins >= 0).to(scores.dtype)
        share = weight / weight.sum().clamp(min=1)
        a = _centred(torch.cdist(scores, scores, compute_mode="donot_use_mm_for_euclid_dist"), share)
        b = _centred((bins[:, None] - bins).abs().to(scores.dtype), share)
        both = share[:, None] * share
        covariance, of_scores, of_bins = ((both * x * y).sum() for x, y in ((a, b), (a, a), (b, b)))
        return covariance / (of_scores * of_bins + TINY).sqrt()


def _centred(distances: Tensor, share: Tensor) -> Tensor:
    rows = distances @ share
    return distances - rows[:, None] - rows + rows @ share
