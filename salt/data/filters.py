"""The filters of HDF5, undone by libraries that let several threads of a process work at once, which HDF5 does not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from salt.data.reader import Array

try:
    import imagecodecs
except ImportError:  # HDF5 itself then undoes them.
    imagecodecs = None  # type: ignore[assignment]

DEFLATE, SHUFFLE, FLETCHER32, LZF, BLOSC, LZ4, ZSTD = 1, 2, 3, 32000, 32001, 32004, 32015
CHECKSUM_BYTES = 4

Decoder: TypeAlias = Callable[[Any, Array], Any]

DECODERS: Mapping[int, Decoder] = {
    DEFLATE: lambda data, out: imagecodecs.deflate_decode(data, out=out.data),
    LZF: lambda data, out: imagecodecs.lzf_decode(data, out=out.data),
    BLOSC: lambda data, out: imagecodecs.blosc_decode(data, numthreads=1, out=out.data),
    LZ4: lambda data, out: imagecodecs.lz4h5_decode(data, out=out.data),
    ZSTD: lambda data, out: imagecodecs.zstd_decode(data, out=out.data),
}


class UndecodableError(Exception):
    """Bytes that only HDF5 itself can read, or say what is wrong with them."""


@dataclass(frozen=True)
class Pipeline:
    """The filters of a dataset: perhaps shuffled, then perhaps compressed, then perhaps with a checksum.

    Args:
        codes: The registered numbers of the filters, in the order in which they were applied.
    """

    codes: tuple[int, ...]

    @classmethod
    def of(cls, codes: tuple[int, ...]) -> "Pipeline | None":
        """The pipeline with these filters, or None if it is not one of the kind above."""
        rest = list(codes)
        if rest[:1] == [SHUFFLE]:
            rest.pop(0)
        if rest and rest[0] in DECODERS:
            rest.pop(0)
        if rest == [FLETCHER32]:
            rest.pop()
        return None if rest or imagecodecs is None else cls(codes)

    def undo(self, stored: bytes, skipped: int, out: Array) -> tuple[Array, bool]:
        """Undoes the filters but for the shuffling.

        Args:
            stored: The chunk as it lies in the file.
            skipped: Bit i is set where filter i was left out for this chunk.
            out: [bytes of the chunk] uint8, may be written to.

        Returns:
            The bytes [bytes of the chunk], and whether they are still shuffled.

        Raises:
            UndecodableError: The bytes are damaged or of an unexpected length.
        """
        applied = [code for i, code in enumerate(self.codes) if not skipped >> i & 1]
        data: Any = stored
        if applied[-1:] == [FLETCHER32]:
            data = memoryview(stored)[:-CHECKSUM_BYTES]
            if imagecodecs.h5checksum_fletcher32(data) != int.from_bytes(stored[-CHECKSUM_BYTES:], "little"):
                raise UndecodableError("checksum")
            applied.pop()
        if applied and applied[-1] != SHUFFLE:
            try:
                data = DECODERS[applied[-1]](data, out)
            except (RuntimeError, ValueError) as error:
                raise UndecodableError(str(error)) from error
        found = np.frombuffer(data, dtype=np.uint8)
        if len(found) != len(out):
            raise UndecodableError("length")
        return found, SHUFFLE in applied
