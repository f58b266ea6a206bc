"""The jets of one option: all its files as one range of positions."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import numpy as np

from salt.data.entries import Entries, of_records, pick
from salt.data.packing import Packed, Part, concatenate, pack_constituents, pack_jets
from salt.data.paths import describe_file
from salt.data.plan import InputPlan, plan_file
from salt.data.reader import VALID, Array, Layout, Reader
from salt.data.remote import Place, RemoteFile
from salt.data.selection import passes
from salt.errors import DataError, unknown
from salt.inputs import JETS, Input, Target

BLOCK_ROWS = 500
READ_ROWS = 1_000
WAITING_THREADS = 4
"""At least so many read from another machine, since they mostly wait."""


class Source:
    """The jets that pass the selection, as many as are wanted, in the order of the files.

    A *row* counts all jets of the files one after the other. A *position* counts the jets in use.

    Args:
        key: The option that names the files, for messages.
        readers: The files.
        inputs: What is read of them.
        targets: The labels that are read.
        num_jets: How many jets to use, the first ones; -1 for all.
        count_key: The option that says how many, for messages.
        strict: Whether labels must be usable for training; otherwise they are only scored.

    Raises:
        DataError: A file disagrees with the inputs or targets, there are no jets, or fewer than wanted.
    """

    def __init__(
        self,
        key: str,
        readers: Sequence[Reader],
        inputs: Mapping[str, Input],
        targets: Sequence[Target],
        num_jets: int = -1,
        count_key: str = "the number of jets",
        strict: bool = True,
    ) -> None:
        self.key = key
        self.inputs = inputs
        self.readers = tuple(readers)
        self.targets = tuple(targets)
        self._plans = tuple(plan_file(reader, inputs, targets, strict) for reader in readers)
        jets = inputs[JETS].dataset_of(JETS)
        self.sizes = tuple(reader.layouts()[jets].num_rows for reader in readers)
        self._starts = tuple(accumulate(self.sizes, initial=0))
        self.rows = self._select(num_jets)
        passing = self._starts[-1] if self.rows is None else len(self.rows)
        selected = " that pass the selection" if inputs[JETS].selection else ""
        if passing == 0:
            raise DataError(f"{key}: there are no jets{selected} in {self.where}")
        if num_jets > passing:
            raise DataError(f"{count_key} is {num_jets}, but {self.where} has only {passing} jets{selected}")
        self.num_jets = passing if num_jets < 0 else num_jets
        if self.rows is not None:
            self.rows = self.rows[: self.num_jets]

    @property
    def paths(self) -> tuple[Place, ...]:
        """The files, in the order of reading."""
        return tuple(reader.path for reader in self.readers)

    def row_of(self, positions: Array) -> Array:
        """The rows of positions."""
        if self.rows is None:
            return positions
        rows: Array = self.rows[positions].astype(np.int64)
        return rows

    def locate(self, row: int) -> tuple[int, int]:
        """The number of the file that a row is in, and the row there."""
        file = bisect_right(self._starts, row) - 1
        return file, row - self._starts[file]

    def block_edges(self) -> Array:
        """Positions that cut the jets into blocks: whole compressed chunks, about 500 rows, none across files."""
        cuts = []
        for reader, start, size in zip(self.readers, self._starts, self.sizes, strict=False):
            cuts.append(start + np.arange(0, size, self._whole_chunks(reader, BLOCK_ROWS)))
        edges = np.append(np.concatenate(cuts), self._starts[-1])
        if self.rows is not None:
            edges = np.searchsorted(self.rows, edges.astype(self.rows.dtype))
        return np.unique(edges.clip(max=self.num_jets))

    def pack(self, positions: Array, threads: int = 1) -> Packed:
        """Reads jets.

        Args:
            positions: [B], ascending.
            threads: How many may read at the same time.

        Raises:
            DataError: A value is not finite or a label unknown; the message has file, row and variable.
        """
        runs = list(self._runs(self.row_of(positions)))
        if any(isinstance(path, RemoteFile) for path in self.paths):
            threads = max(threads, WAITING_THREADS)
        if threads > 1 and len(runs) > 1:
            with ThreadPoolExecutor(threads, "reader") as pool:
                return concatenate(list(pool.map(self._pack_run, *zip(*runs, strict=True))))
        pieces = [self._pack_run(file, local) for file, local in runs]
        return concatenate(pieces) if pieces else self._empty()

    def entries(self, positions: Array) -> Iterator[tuple[InputPlan, Entries, Array]]:
        """What `pack` would pack: of each input, in each file, the plan, the real entries, and the rows of the jets."""
        for file, local in self._runs(self.row_of(positions)):
            for plan in self._plans[file].values():
                yield plan, pick(self.readers[file], plan.dataset, local, plan.fields), local

    def read(self, dataset: str, rows: Array, variables: Sequence[str]) -> Array:
        """Raw, padded records of one dataset, [B] or [B, width], with the named fields in their order.

        Args:
            dataset: Name of the dataset.
            rows: [B], ascending.
            variables: Fields of the dataset, `valid` among them if it is wanted.

        Raises:
            DataError: There is no such field.
        """
        fields = self.fields(dataset)
        for variable in variables:
            if variable not in fields:
                raise DataError(f"{self.where}: " + unknown("variable", variable, fields, f"in '{dataset}'"))
        width = self.width(dataset)
        shape = (len(rows),) if width is None else (len(rows), width)
        out = np.zeros(shape, dtype=[(v, fields[v]) for v in variables])
        done = 0
        for file, local in self._runs(rows):
            records = self.readers[file].read(dataset, int(local[0]), int(local[-1]) + 1, variables)
            records = records[local - local[0]]
            target = out[done : done + len(local)]
            for variable in variables:
                if width is None:
                    target[variable] = records[variable]
                else:
                    target[variable][:, : records.shape[1]] = records[variable]
            done += len(local)
        return out

    def fields(self, dataset: str) -> dict[str, np.dtype[Any]]:
        """The fields of a dataset that all files have, of a type that holds the values of all."""
        layouts = [self._layout(reader, dataset) for reader in self.readers]
        shared = [f for f in layouts[0].fields if all(f in layout.fields for layout in layouts)]
        found: dict[str, np.dtype[Any]] = {}
        for field in shared:
            types = {layout.fields[field] for layout in layouts}
            found[field] = types.pop() if len(types) == 1 else np.result_type(*types)
        return found

    def width(self, dataset: str) -> int | None:
        """The padded number of constituents, the largest of the files; None for a dataset of jets."""
        widths = [self._layout(reader, dataset).width for reader in self.readers]
        return None if widths[0] is None else max(w or 0 for w in widths)

    def class_names(self, target: Target) -> tuple[str, ...] | None:
        """The names that the first file gives to the classes of a label, in the order of their codes."""
        dataset = self.inputs[target.input].dataset_of(target.input)
        return self.readers[0].class_names(dataset, target.variable)

    def codes(self, target: Target) -> tuple[tuple[int, str], ...]:
        """The codes of a class label and what they mean, ascending; empty for other labels.

        Raises:
            DataError: They do not mean the same in all files.
        """
        labels = [label for plans in self._plans for label in plans[target.input].labels if label.target == target]
        found = [label.lookup.names for label in labels if label.lookup]
        for path, names in zip(self.paths, found, strict=False):
            if names != found[0]:
                raise DataError(
                    f"{path}: the classes of label '{target.variable}' have other codes than in {self.paths[0]}, so "
                    "their weights have no order\nlet the task measure them by class_weights: balanced, or list them"
                )
        return found[0] if found else ()

    def describe(self, paths: Sequence[Place]) -> dict[str, Any]:
        """The number of jets in use, and each file with size, hash of its header and rows.

        Args:
            paths: The files as they were named, where these are copies.
        """
        files = [
            describe_file(path, reader.format, size)
            for path, reader, size in zip(paths, self.readers, self.sizes, strict=True)
        ]
        return {"jets": self.num_jets, "files": files}

    def close(self) -> None:
        """Closes all files in this process; they open again by themselves."""
        for reader in self.readers:
            reader.close()

    def _whole_chunks(self, reader: Reader, rows: int) -> int:
        """About so many rows, as a multiple of the chunks of what costs most to read."""
        layouts = [reader.layouts()[spec.dataset_of(name)] for name, spec in self.inputs.items()]
        _, chunk = max((layout.width or 0, layout.chunk) for layout in layouts)
        return max(1, rows // chunk) * chunk

    def _layout(self, reader: Reader, dataset: str) -> Layout:
        layouts = reader.layouts()
        if dataset not in layouts:
            raise DataError(f"{reader.path}: " + unknown("dataset", dataset, layouts))
        return layouts[dataset]

    @property
    def where(self) -> str:
        """The files, in words."""
        rest = f" and {len(self.readers) - 1} more" if len(self.readers) > 1 else ""
        return f"{self.readers[0].path}{rest}"

    def _select(self, num_jets: int) -> Array | None:
        """The rows of the jets that pass the selection, in 4 bytes each where that suffices; None without one."""
        if not self._plans[0][JETS].conditions:
            return None
        dtype = np.int32 if self._starts[-1] <= np.iinfo(np.int32).max else np.int64
        found: list[Array] = [np.empty(0, dtype)]
        count = 0
        for file, plans in enumerate(self._plans):
            plan = plans[JETS]
            for start in range(0, self.sizes[file], READ_ROWS):
                stop = min(start + READ_ROWS, self.sizes[file])
                fields = [c.variable for c in plan.conditions]
                records = pick(self.readers[file], plan.dataset, np.arange(start, stop), fields).records
                passing = np.flatnonzero(passes(plan.conditions, records)) + self._starts[file] + start
                found.append(passing.astype(dtype))
                count += len(found[-1])
                if 0 <= num_jets <= count:
                    return np.concatenate(found)
        return np.concatenate(found)

    def _runs(self, rows: Array) -> Iterator[tuple[int, Array]]:
        """Cuts ascending rows where the file changes, where more than a chunk lies between, and into handy pieces."""
        start = 0
        while start < len(rows):
            file, _ = self.locate(int(rows[start]))
            stop = int(np.searchsorted(rows, self._starts[file + 1]))
            local = rows[start:stop] - self._starts[file]
            gap = max(layout.chunk for layout in self.readers[file].layouts().values())
            piece = local // self._whole_chunks(self.readers[file], READ_ROWS)
            cuts = np.flatnonzero((np.diff(local) > gap) | (np.diff(piece) > 0)) + 1
            yield from ((file, run) for run in np.split(local, cuts))
            start = stop

    def _pack_run(self, file: int, rows: Array) -> Packed:
        parts: dict[str, Part] = {}
        for name, plan in self._plans[file].items():
            entries = pick(self.readers[file], plan.dataset, rows, plan.fields)
            parts[name] = (pack_jets if name == JETS else pack_constituents)(plan, entries, rows)
        return Packed(rows + self._starts[file], parts)

    def _empty(self) -> Packed:
        nothing = np.empty(0, dtype=np.int64)
        return Packed(nothing, {name: self._empty_part(plan) for name, plan in self._plans[0].items()})

    def _empty_part(self, plan: InputPlan) -> Part:
        layout = self.readers[0].layouts()[plan.dataset]
        dtype = [(field, layout.fields[field]) for field in plan.fields]
        nothing = np.empty(0, dtype=np.int64)
        if VALID not in plan.fields or layout.width is None:
            return pack_jets(plan, of_records(np.empty(0, dtype), nothing), nothing)
        return pack_constituents(plan, of_records(np.empty((0, layout.width), dtype), nothing), nothing)
