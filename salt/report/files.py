"""Prediction files, together with the test files that they were made from."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from salt.data.formats import open_reader
from salt.data.hdf5 import FileHandle, plain_errors, text_list
from salt.data.paths import found_again, named_place
from salt.data.reader import Reader
from salt.data.remote import Place
from salt.errors import DataError, SaltError, unknown
from salt.inputs import JETS, SHORT_NAMES, STANDARD_CLASSES
from salt.report.flavours import in_order

log = logging.getLogger(__name__)

Array = NDArray[Any]

VERTEX = "VertexIndex"
"""The column by which constituents of one vertex are known."""

BLOCK = 20_000
"""Jets that are read at once."""

NUMBERS = ("eventNumber", "jetNumber")
"""By these it is seen that a test file still has the jets that were scored."""

FIRST_LABELS = ("HadronConeExclTruthLabelID", "flavour_label", "ftagTruthOriginLabel")
"""Labels that are tried before all others."""


class Predictions:
    """One prediction file. What it lacks is taken from the test files whose rows it has, where they are known.

    Args:
        path: The file.

    Raises:
        DataError: It is missing, broken, or has no jets.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise DataError(f"{path} is a folder; name a prediction file")
        if not path.is_file():
            names = [p.name for p in path.parent.glob("*.h5")] if path.parent.is_dir() else []
            raise DataError(unknown("file", path.name, names, f"in folder {path.parent}"))
        self.path = path
        self.own = open_reader(path, {})
        if JETS not in self.own.layouts() or self.own.layouts()[JETS].width is not None:
            raise DataError(f"{path} has no table '{JETS}'; give a prediction file that main test wrote")
        self.num_jets = self.own.layouts()[JETS].num_rows
        with plain_errors(path, "cannot be read"), h5py.File(path, "r", locking=False) as file:
            self.model = str(file.attrs.get("model", ""))
            self.test_files = tuple(named_place(name) for name in text_list(file.attrs.get("test_files")) or ())
            self._units: Mapping[str, Mapping[str, str]] = _units(file.attrs)
        self.tests: tuple[Reader, ...] = ()
        self.doubt = ""
        try:
            self.tests = tuple(open_reader(found_again(test, "the test file"), {}) for test in self.test_files)
            self._check_same_jets()
        except (SaltError, OSError) as error:
            self.tests = ()
            self.doubt = f"the test file is left aside: {error}"
        for reader in self.tests[:1]:
            with FileHandle(reader.path).opened() as file:
                self._units = self._units or _units(file.attrs)

    @property
    def sample(self) -> tuple[Place, ...]:
        """Which jets these are: the test files, or the file itself where it does not name any."""
        return tuple(p.resolve() for p in self.test_files or (self.path,))

    @property
    def sample_name(self) -> str:
        """A name for the jets, from the names of the files."""
        if self.test_files:
            first, *rest = (p.stem for p in self.test_files)
            return f"{first} and {len(rest)} more" if rest else first
        return self.path.stem.partition("__test_")[2] or self.path.stem

    def taggers(self) -> list[str]:
        """The prefixes of the columns of probabilities, that of our own model first."""
        columns = self.own.layouts()[JETS].fields
        found = [name.removesuffix("_pb") for name in columns if name.endswith("_pb")]
        return list(dict.fromkeys([self.model, *found] if self.model else found))

    def constituents(self) -> list[str]:
        """The datasets of constituents in the file."""
        return [name for name, layout in self.own.layouts().items() if layout.width is not None]

    def columns(self, dataset: str) -> list[str]:
        """What the prediction file itself has of a dataset."""
        layout = self.own.layouts().get(dataset)
        return list(layout.fields) if layout else []

    def fields(self, dataset: str) -> list[str]:
        """What is known of a dataset, from the file and the test files."""
        return list(dict.fromkeys([*self.columns(dataset), *self._shared(dataset)]))

    def regressed(self, dataset: str, tagger: str) -> dict[str, str]:
        """The columns of a tagger that estimate a variable, and that variable."""
        columns = set(self.columns(dataset))
        found = {f"{tagger}_{field}": field for field in self.fields(dataset)}
        return {column: field for column, field in found.items() if column in columns}

    def without_truth(self, dataset: str, tagger: str) -> dict[str, str]:
        """Regressions of which nobody knows the truth, with the reason why they are not judged."""
        longer = tuple(f"{other}_" for other in self.taggers() if other.startswith(f"{tagger}_"))
        names = [c for c in self.columns(dataset) if c.startswith(f"{tagger}_") and not c.startswith(longer)]
        found = [name.removeprefix(f"{tagger}_") for name in names]
        unknown_ones = [f for f in found if f not in (VERTEX, *self.fields(dataset)) and not f.startswith("p")]
        return {
            f"regression of {f}": f"'{f}' of '{dataset}' is in neither the file nor its test file" for f in unknown_ones
        }

    def dtype(self, dataset: str, field: str) -> np.dtype[Any]:
        """The type of a field."""
        reader = self.own if field in self.columns(dataset) else self.tests[0]
        return reader.layouts()[dataset].fields[field]

    def unit(self, dataset: str, field: str) -> str:
        """The unit of a variable, where a file names it."""
        return str(self._units.get(dataset, {}).get(field, ""))

    def labels(self, dataset: str) -> dict[str, dict[int, str]]:
        """The labels of classes in a dataset, those of the field first, with the names of their codes."""
        found = {}
        for field in sorted(self.fields(dataset), key=_rank):
            names = self._class_names(dataset, field)
            if names:
                found[field] = dict(enumerate(names))
            elif field in STANDARD_CLASSES:
                found[field] = dict(STANDARD_CLASSES[field])
        return found

    def _class_names(self, dataset: str, field: str) -> tuple[str, ...] | None:
        for reader in (self.own, *self.tests[:1]):
            if dataset in reader.layouts() and field in reader.layouts()[dataset].fields:
                return reader.class_names(dataset, field)
        return None

    def blocks(self, dataset: str, fields: Sequence[str]) -> Iterator[tuple[int, dict[str, Array]]]:
        """Some fields of all jets, block by block.

        Yields:
            The first row of a block, and for each field [n] or [n, width] values.
        """
        for start in range(0, self.num_jets, BLOCK):
            yield start, self.read(dataset, fields, start, min(start + BLOCK, self.num_jets))

    def read(self, dataset: str, fields: Sequence[str], start: int, stop: int) -> dict[str, Array]:
        """Some fields of the jets from a row to another."""
        mine = [f for f in fields if f in self.columns(dataset)]
        others = [f for f in fields if f not in mine]
        out: dict[str, Array] = {}
        if mine:
            records = self.own.read(dataset, start, stop, mine)
            out = {f: records[f] for f in mine}
        if others:
            parts = list(self._from_tests(dataset, others, start, stop))
            out.update({f: self._fitting(dataset, [part[f] for part in parts]) for f in others})
        return {f: out[f] for f in fields}

    def column(self, dataset: str, field: str) -> Array:
        """One field of all jets."""
        out = np.empty(self.num_jets, dtype=self.dtype(dataset, field))
        for start, block in self.blocks(dataset, [field]):
            out[start : start + len(block[field])] = block[field]
        return out

    def table(self, fields: Sequence[str]) -> dict[str, Array]:
        """Some fields of all jets, read in one pass."""
        out = {f: np.empty(self.num_jets, dtype=self.dtype(JETS, f)) for f in fields}
        for start, block in self.blocks(JETS, fields):
            for field, values in block.items():
                out[field][start : start + len(values)] = values
        return out

    def _from_tests(self, dataset: str, fields: Sequence[str], start: int, stop: int) -> Iterator[Array]:
        first = 0
        for reader in self.tests:
            size = reader.layouts()[dataset].num_rows
            low, high = max(start - first, 0), min(stop - first, size)
            if low < high:
                yield reader.read(dataset, low, high, fields)
            first += size

    def _fitting(self, dataset: str, parts: Sequence[Array]) -> Array:
        """One after the other, with as many places of constituents as the prediction file has."""
        if parts[0].ndim == 1:
            return np.concatenate(parts)
        own = self.own.layouts().get(dataset)
        width = own.width if own and own.width else max(part.shape[1] for part in parts)
        return np.concatenate([np.pad(p[:, :width], ((0, 0), (0, max(0, width - p.shape[1])))) for p in parts])

    def _check_same_jets(self) -> None:
        rows = sum(reader.layouts()[JETS].num_rows for reader in self.tests if JETS in reader.layouts())
        if self.tests and rows < self.num_jets:
            raise DataError(f"{self.tests[0].path} has {rows} jets, the predictions {self.num_jets}")
        common = [f for f in NUMBERS if f in self.columns(JETS) and f in self._shared(JETS)]
        if not common:
            return
        for start, block in self.blocks(JETS, common):
            stop = start + len(block[common[0]])
            for field in common:
                theirs = np.concatenate([part[field] for part in self._from_tests(JETS, common, start, stop)])
                if (theirs != block[field]).any():
                    raise DataError(f"{self.tests[0].path} has other jets than {self.path}: '{field}' differs")

    def _shared(self, dataset: str) -> list[str]:
        if not self.tests or any(dataset not in reader.layouts() for reader in self.tests):
            return []
        fields = [reader.layouts()[dataset].fields for reader in self.tests]
        return [f for f in fields[0] if all(f in each for each in fields)]


def newest(files: Sequence[Predictions]) -> list[Predictions]:
    """The newest file of each sample in each folder; of others it is said that they are left out."""
    found: dict[tuple[Path, tuple[Place, ...]], Predictions] = {}
    for file in files:
        key = (file.path.parent, file.sample)
        other = found.get(key)
        if other is not None:
            old, new = sorted((other, file), key=lambda f: f.path.stat().st_mtime)
            log.warning("%s is newer than %s, which is left out; name it by --predictions", new.path, old.path.name)
            file = new
        found[key] = file
    return list(found.values())


def classes_of(label: Mapping[int, str], tagger: str, columns: Sequence[str]) -> dict[str, str]:
    """The classes of a label that a tagger has probabilities of, with their columns."""
    found = {name: f"{tagger}_{SHORT_NAMES.get(name, f'p{name}')}" for name in in_order(label.values())}
    return {name: column for name, column in found.items() if column in columns}


def _units(attributes: Any) -> Mapping[str, Mapping[str, str]]:
    try:
        tree = json.loads(attributes.get("units", "{}"))
    except (TypeError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _rank(label: str) -> int:
    return FIRST_LABELS.index(label) if label in FIRST_LABELS else len(FIRST_LABELS)
