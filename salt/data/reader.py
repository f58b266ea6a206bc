"""What a file format must offer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from salt.data.remote import Place
from salt.statistics import Scale

Array: TypeAlias = NDArray[Any]
Scales: TypeAlias = Mapping[str, Mapping[str, Scale]]
"""For each dataset and variable the scale of the normalisation that was given."""

VALID = "valid"
"""The field that tells real constituents from padding."""


@dataclass(frozen=True)
class Layout:
    """The shape of one dataset of a file.

    Args:
        fields: For each field its type.
        num_rows: Number of jets.
        width: Length of the padded axis of constituents; None for a dataset of jets.
        chunk: Number of jets that are compressed together.
    """

    fields: Mapping[str, np.dtype[Any]]
    num_rows: int
    width: int | None
    chunk: int


class Reader(Protocol):
    """One file of some format.

    A reader is built from the place of the file, which is a `RemoteFile` for a URL, and the normalisation that the user
    gave; it must survive pickling and forking, and returns physical values: a format that stores normalised ones undoes
    that. A dataset of constituents has a field ``valid`` that is true where an entry is real.
    """

    path: Place
    format: str

    def layouts(self) -> Mapping[str, Layout]:
        """The datasets of the file."""
        ...

    def read(self, dataset: str, start: int, stop: int, fields: Sequence[str]) -> Array:
        """Rows `start` to `stop` as a structured array, [n] or [n, width], that has at least these fields."""
        ...

    def class_names(self, dataset: str, field: str) -> tuple[str, ...] | None:
        """The names of the classes of a label, in the order of their codes from 0, if the file has them."""
        ...

    def close(self) -> None:
        """Closes what is open in this process."""
        ...
