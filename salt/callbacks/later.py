"""A number on a device, read without waiting for it."""

import torch
from torch import Tensor


class Later:
    """Copies a number from its device while that works on, and has it when the copy has arrived."""

    def __init__(self) -> None:
        self._copy: Tensor | None = None
        self._arrived: torch.cuda.Event | None = None
        self._value: float | None = None

    @property
    def pending(self) -> bool:
        """Whether a copy is still under way."""
        self.value()
        return self._copy is not None

    def ask(self, number: Tensor | float) -> None:
        """Begins to copy a number, instead of one that was asked for before."""
        if not isinstance(number, Tensor):
            self._value, self._copy = number, None
            return
        self._copy = number.detach().to("cpu", non_blocking=True)
        self._arrived = None
        if number.is_cuda:
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def value(self) -> float | None:
        """The number that has arrived last; None before any."""
        if self._copy is not None and (self._arrived is None or self._arrived.query()):
            self._value, self._copy = float(self._copy), None
        return self._value
