"""Builds a store of packed jets, by several processes at once."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from salt.data.progress import progress
from salt.data.reader import Array
from salt.data.signals import undisturbed
from salt.data.source import Source
from salt.data.space import StorageError, check_space, in_words
from salt.data.store import ROWS, Column, column_name, smallest_integer, write_header
from salt.data.survey import spread_blocks
from salt.data.workers import usable_cores
from salt.inputs import JETS, Target

log = logging.getLogger(__name__)

RANGE_JETS = 10_000
"""About as many jets are packed at once by one process."""
SAMPLE_JETS = 10_000
"""As many jets are read to estimate the size of a store."""
MARGIN = 1.05
"""By how much the number of constituents may exceed what the sample says."""

Bounds = dict[str, tuple[int, int]]
"""For some arrays their smallest and largest entry."""


def build_store(source: Source, folder: Path, processes: int | None = None) -> None:
    """Packs all jets of a source into an empty folder.

    Args:
        source: The jets.
        folder: Where to.
        processes: How many work; None for one on each core that may be used.

    Raises:
        DataError: There is too little space, a value is not finite, or a label unknown.
        OSError: The folder cannot be written.
    """
    begun = time.perf_counter()
    columns = _columns(source)
    needed = _estimated_bytes(source, columns)
    free = check_space(folder.parent, needed, f"the jets of {source.key}")
    numbers = source.num_jets, source.key, in_words(needed), folder.parent, in_words(free)
    log.info("packing %d jets of %s, about %s, into %s, where %s are free", *numbers)
    ranges = list(pairwise(_range_edges(source)))
    workers = min(processes or usable_cores(), len(ranges))
    if source.rows is not None:
        (folder / ROWS).write_bytes(source.rows.astype(np.int64).tobytes())
    lengths, bounds = _pack_ranges(source, folder, columns, ranges, workers)
    columns = {name: [_shrunk(folder, c, bounds) for c in found] for name, found in columns.items()}
    arrays = [
        (c, source.num_jets if c.of_jets else length)
        for found, length in zip(columns.values(), lengths, strict=True)
        for c in found
    ]
    write_header(folder, arrays + ([(Column(ROWS, "i8"), source.num_jets)] if source.rows is not None else []))
    size = sum(path.stat().st_size for path in folder.iterdir())
    log.info(
        "packed %d jets of %s in %.1f s: %s, %.0f bytes a jet",
        source.num_jets,
        source.key,
        time.perf_counter() - begun,
        in_words(size),
        size / source.num_jets,
    )


def packed_bytes(source: Source) -> int:
    """About how many bytes the jets of a source take when they are packed."""
    return _estimated_bytes(source, _columns(source))


def _columns(source: Source) -> dict[str, list[Column]]:
    """For each input its arrays."""
    found = {}
    for i, (name, spec) in enumerate(source.inputs.items()):
        of_jets = name == JETS
        columns = [Column(column_name(i, "values"), "f4", (len(spec.variables),), of_jets)]
        if not of_jets:
            width = source.width(spec.dataset_of(name)) or 0
            most = min(width, spec.max_count or width)
            columns += [
                Column(column_name(i, "starts"), "i8"),
                Column(column_name(i, "counts"), smallest_integer(0, most)),
                Column(column_name(i, "slots"), smallest_integer(0, width), of_jets=False),
            ]
        for j, target in enumerate(t for t in source.targets if t.input == name):
            columns.append(Column(column_name(i, f"label{j}"), _label_type(source, target), of_jets=of_jets))
        found[name] = columns
    return found


def _label_type(source: Source, target: Target) -> str:
    if target.kind == "number" or not target.learnt:
        return "f4"
    if target.kind == "class":
        return smallest_integer(-1, len(target.classes) - 1)
    dtype = source.fields(source.inputs[target.input].dataset_of(target.input))[target.variable]
    if dtype.kind == "b":
        return smallest_integer(0, 1)
    info = np.iinfo(dtype)
    return smallest_integer(int(info.min), min(int(info.max), np.iinfo(np.int64).max))


def _estimated_bytes(source: Source, columns: Mapping[str, Sequence[Column]]) -> int:
    """From all jets, or if there are many from a sample of them."""
    jets = 0
    entries = dict.fromkeys(columns, 0)
    for positions in spread_blocks(source.num_jets, SAMPLE_JETS):
        packed = source.pack(positions)
        jets += len(positions)
        for name, part in packed.parts.items():
            entries[name] += int(part.counts.sum())
    margin = MARGIN if jets < source.num_jets else 1.0
    bytes_per_jet = sum(
        c.entry_bytes * (1 if c.of_jets else margin * entries[name] / jets)
        for name, found in columns.items()
        for c in found
    )
    return int(source.num_jets * (bytes_per_jet + (0 if source.rows is None else 8)))


def _range_edges(source: Source) -> list[int]:
    """Edges of blocks that cut the jets into ranges."""
    edges = source.block_edges()
    wanted = np.searchsorted(edges, np.arange(0, source.num_jets, RANGE_JETS))
    return [int(edge) for edge in np.unique(np.append(edges[wanted], source.num_jets))]


def _pack_ranges(
    source: Source,
    folder: Path,
    columns: Mapping[str, Sequence[Column]],
    ranges: Sequence[tuple[int, int]],
    workers: int,
) -> tuple[list[int], Bounds]:
    """Writes all arrays; returns the number of entries of each input, and the bounds of labels of kind ``index``."""
    context: Any = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    lengths = context.Array("q", len(columns))
    bounds: Bounds = {}
    source.close()  # A forked process must not share open files.
    begin = (source, folder, columns, lengths, os.getpid())
    with ProcessPoolExecutor(workers, context, _begin, begin) as crew:
        try:
            with undisturbed():
                futures = [crew.submit(_pack, *span) for span in ranges]
            with progress(f"packing {source.key}", source.num_jets) as advance:
                # In order, so that of several bad values the first one is complained of.
                for (first, stop), future in zip(ranges, futures, strict=True):
                    for name, (low, high) in future.result().items():
                        known = bounds.get(name, (low, high))
                        bounds[name] = min(low, known[0]), max(high, known[1])
                    advance(stop - first)
        except BrokenProcessPool as error:
            raise StorageError(
                f"data.stage: a process that packs jets into {folder.parent} was killed; is the memory full?"
            ) from error
        except BaseException:
            crew.shutdown(cancel_futures=True)
            raise
    return list(lengths), bounds


def _shrunk(folder: Path, column: Column, bounds: Bounds) -> Column:
    """The column in the smallest type that holds its entries, and its file rewritten if that is smaller."""
    if column.name not in bounds:
        return column
    small = replace(column, dtype=smallest_integer(*bounds[column.name]))
    if small.entry_bytes < column.entry_bytes:
        path = folder / column.name
        beside = path.with_suffix(".small")
        np.memmap(path, column.dtype, "r").astype(small.dtype).tofile(beside)
        beside.replace(path)
    return small


class _Writer:
    """Packs ranges of jets and writes them where there is room in the arrays."""

    def __init__(self, source: Source, folder: Path, columns: Mapping[str, Sequence[Column]], lengths: Any) -> None:
        self._source = source
        self._lengths = lengths
        self._columns = columns
        self._files = {
            c.name: os.open(folder / c.name, os.O_WRONLY | os.O_CREAT, 0o600)
            for found in columns.values()
            for c in found
        }

    def __call__(self, first: int, stop: int) -> Bounds:
        packed = self._source.pack(np.arange(first, stop))
        bounds: Bounds = {}
        for i, (name, columns) in enumerate(self._columns.items()):
            part = packed.parts[name]
            with self._lengths.get_lock():
                start = self._lengths[i]
                self._lengths[i] += len(part.values)
            labels = [t for t in self._source.targets if t.input == name]
            arrays = {
                "values": part.values,
                "counts": part.counts,
                "starts": start + np.cumsum(part.counts) - part.counts,
                "slots": part.slots,
                **{f"label{j}": part.labels[target] for j, target in enumerate(labels)},
            }
            bounds |= {
                column_name(i, f"label{j}"): (int(part.labels[t].min()), int(part.labels[t].max()))
                for j, t in enumerate(labels)
                if t.kind == "index" and len(part.labels[t])
            }
            found = {column_name(i, what): array for what, array in arrays.items()}
            for column in columns:
                self._write(column, found[column.name], first if column.of_jets else start)
        return bounds

    def _write(self, column: Column, array: Array, entry: int) -> None:
        data = memoryview(array.astype(column.dtype, copy=False).tobytes())
        place = entry * column.entry_bytes
        while len(data):
            written = os.pwrite(self._files[column.name], data, place)
            data, place = data[written:], place + written


_writers: list[_Writer] = []
"""The writer of a process that helps."""


def _begin(source: Source, folder: Path, columns: Mapping[str, Sequence[Column]], lengths: Any, parent: int) -> None:
    """Makes this process one that helps: it leaves the answer to Ctrl-C to its parent, and ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _writers[:] = [_Writer(source, folder, columns, lengths)]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _pack(first: int, stop: int) -> Bounds:
    return _writers[0](first, stop)
