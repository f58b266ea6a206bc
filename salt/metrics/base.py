"""A metric as a value: measured on some jets, put together with those of other jets, and read at the end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from salt.metrics.figures import Figure
from salt.metrics.lists import Scratch

T = TypeVar("T")


class Metric(ABC):
    """What a task measures on some jets.

    A subclass is a frozen dataclass whose tensors come from the batch without waiting for the device. That of many jets
    is the same whatever batches and devices they were spread over.
    """

    @classmethod
    @abstractmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """That of all jets of the parts, of which there is at least one."""

    @abstractmethod
    def values(self) -> Mapping[str, float]:
        """The numbers to log, by name: always the same names, and NaN for what these jets say nothing about."""

    def errors(self) -> Mapping[str, float]:
        """Statistical errors of some of the values, by the same names; NaN where one is not known."""
        return {}

    def figures(self) -> Mapping[str, Figure]:
        """What can be drawn, by name; what these jets say nothing about is absent."""
        return {}

    @property
    def size(self) -> int:
        """How many entries it keeps in memory; 0 for one that is of the same size for any number of jets."""
        return 0

    def spilt(self, scratch: Scratch) -> Self:
        """The same with its entries in a file, where memory would grow with their number."""
        return self

    def pieces(self) -> Iterator[Self]:
        """The same in parts that can be sent to another process, each of which fits into memory."""
        yield self

    def to(self, device: torch.device | str) -> Self:
        """On another device."""
        return moved(self, device)


def moved(value: T, device: torch.device | str) -> T:
    """A dataclass with its tensors, and those of dataclasses in it, on another device; the same if they are there."""
    anything: Any = value
    found = {field.name: getattr(value, field.name) for field in fields(anything)}
    tensors = {name: x.to(device) for name, x in found.items() if isinstance(x, Tensor)}
    inner = {name: moved(x, device) for name, x in found.items() if isinstance(x, HasTensors)}
    if all(each is found[name] for name, each in {**tensors, **inner}.items()):
        return value
    new: T = replace(anything, **tensors, **inner)
    return new


class HasTensors:
    """Marks dataclasses that `moved` looks into."""
