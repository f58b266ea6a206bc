"""Muon for matrices and AdamW for everything else, in one optimiser."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer


class MuonAdamW(Optimizer):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) on weight matrices, AdamW on all other parameters.

    Args:
        params: Parameters or groups of them; given by the training.
        lr: Learning rate; given by the training.
        weight_decay: Weight decay; given by the training.
        momentum: Momentum of Muon.
        nesterov: Whether the momentum of Muon is Nesterov's.
        ns_steps: Iterations that make an update of Muon orthogonal.
        adjust_lr_fn: How Muon's rate follows the shape of a matrix. ``match_rms_adamw`` makes steps as large as those
            of AdamW (arXiv:2502.16982), so that one learning rate suits both; ``original`` is that of its author.
        betas: Decay of the two moments of AdamW.
        eps: Added to the denominator of AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        adjust_lr_fn: Literal["match_rms_adamw", "original"] = "match_rms_adamw",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        given = list(params)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        matrices = _only(groups, lambda p: p.dim() == 2)
        others = _only(groups, lambda p: p.dim() != 2)
        self.parts: list[Optimizer] = []
        if matrices:
            self.parts.append(
                Muon(
                    matrices,
                    lr=lr,
                    weight_decay=weight_decay,
                    momentum=momentum,
                    nesterov=nesterov,
                    ns_steps=ns_steps,
                    adjust_lr_fn=adjust_lr_fn,
                )
            )
        if others:
            fused = all(p.device.type == "cpu" for group in others for p in group["params"])
            self.parts.append(AdamW(others, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps, fused=fused))
        # The groups are shared, so what is set in them here is set in the parts.
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both.

        Args:
            closure: Computes the loss and its gradients.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Gives the parts their groups and the state of their parameters."""
        first = 0
        for part in self.parts:
            number = len(part.param_groups)
            part.param_groups = self.param_groups[first : first + number]
            part.state = self.state
            first += number


def _only(groups: Iterable[dict[str, Any]], wanted: Callable[[Tensor], bool]) -> list[dict[str, Any]]:
    chosen = [{**group, "params": [p for p in group["params"] if wanted(p)]} for group in groups]
    return [group for group in chosen if group["params"]]
