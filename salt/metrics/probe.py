"""How much of a nuisance a small network reads from scores that it has never seen before."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST = 2**17
"""So many jets are enough to learn from and to be judged by."""

HIDDEN = (32, 32)
STEPS = 300
LOOKS = 10
"""How often a probe is judged while it learns; its best look counts."""
BATCH = 1000
RATE = 1e-2


@dataclass(frozen=True)
class Reading:
    """What is read.

    Args:
        cross_entropy: Of the bins of the nuisance, in nats, on jets that were not learnt from.
        entropy: That of somebody who only knows how many jets are in each bin.
    """

    cross_entropy: float
    entropy: float

    @property
    def readable(self) -> float:
        """The share of the entropy that the scores take away: 0 if they say nothing, 1 if they say all."""
        return max(0.0, 1 - self.cross_entropy / self.entropy) if self.entropy > 0 else float("nan")


def perceptron(sizes: Sequence[int], generator: torch.Generator, scale_of_last: float = 1.0) -> nn.Sequential:
    """Linear layers with ReLU between them, whose weights follow from a generator of their own.

    Args:
        sizes: Width of the input, of the hidden layers, and of the output.
        generator: Draws the weights; it is of the CPU.
        scale_of_last: What the weights of the last layer are multiplied with.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        linear = torch.nn.utils.skip_init(nn.Linear, before, after)
        with torch.no_grad():
            for parameter in linear.parameters():
                parameter.uniform_(-1 / sqrt(before), 1 / sqrt(before), generator=generator)
        layers += [linear, nn.ReLU()]
    with torch.no_grad():
        for parameter in layers[-2].parameters():
            parameter.mul_(scale_of_last)
    return nn.Sequential(*layers[:-1])


def read(scores: Tensor, bins: Tensor, number: int, seed: int = 0) -> Reading:
    """Has one half of the jets read by a network that learns from the other half, and the other way round.

    The result follows from the arguments alone; no other random numbers are drawn.

    Args:
        scores: [R, C] what is read from.
        bins: [R] bins of the nuisance from 0.
        number: Number of bins.
        seed: From it the networks follow.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(scores.device.type, enabled=False):
        scores, bins = scores[:MOST].float().clone(), bins[:MOST].long().clone()
        if len(scores) < 2 * number:
            return Reading(float("nan"), float("nan"))
        spread = scores.std(0)
        scores = (scores - scores.mean(0)) / torch.where(spread > 0, spread, 1)
        halves = (torch.arange(len(scores), device=scores.device) % 2).bool()
        found = [_read_half(scores, bins, half, number, seed) for half in (halves, ~halves)]
        cross_entropy, entropy = torch.stack(found).mean(0).tolist()
    return Reading(cross_entropy, entropy)


def _read_half(scores: Tensor, bins: Tensor, learnt: Tensor, number: int, seed: int) -> Tensor:
    """The cross-entropies [2] of one half: of the best look of a network, and of the shares of the bins."""
    generator = torch.Generator().manual_seed(seed)
    x, y, x_judged, y_judged = scores[learnt], bins[learnt], scores[~learnt], bins[~learnt]
    counts = torch.bincount(y, minlength=number).float() + 0.5
    shares = (counts / counts.sum()).log()
    network = perceptron((x.shape[1], *HIDDEN, number), generator, scale_of_last=0).to(x.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    best = entropy = functional.nll_loss(shares.expand(len(y_judged), -1), y_judged)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        some = torch.randint(len(y), (min(BATCH, len(y)),), generator=generator).to(x.device)
        loss = functional.cross_entropy(shares + network(x[some]), y[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % (STEPS // LOOKS) == 0:
            with torch.no_grad():
                best = torch.minimum(best, functional.cross_entropy(shares + network(x_judged), y_judged))
    return torch.stack([best.detach(), entropy])
