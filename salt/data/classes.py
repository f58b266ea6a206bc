"""From the codes of a label in one file to the indices of a task's classes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from salt.data.reader import Array
from salt.errors import ConfigError, DataError, unknown
from salt.inputs import STANDARD_CLASSES, Target

NO_LABEL = (-1, -2)
"""The codes that mean: there is no label."""


@dataclass(frozen=True)
class Lookup:
    """A table from codes to class indices.

    Args:
        codes: Known codes, ascending.
        indices: The class index of each, -1 where it is no target.
        names: Names of codes in the file, as far as they are known.
    """

    codes: tuple[int, ...]
    indices: tuple[int, ...]
    names: tuple[tuple[int, str], ...]

    def __call__(self, raw: Array) -> tuple[Array, Array]:
        """Class indices (int64, -1 for none), and for each entry whether its code is unknown."""
        codes = np.asarray(self.codes, dtype=np.int64)
        values = raw.astype(np.int64)
        place = np.searchsorted(codes, values).clip(max=len(codes) - 1)
        strange = codes[place] != values
        indices = np.asarray(self.indices, dtype=np.int64)[place]
        indices[strange] = -1
        return indices, strange


def make_lookup(target: Target, names: tuple[str, ...] | None, where: str, strict: bool) -> Lookup:
    """Builds the table of a target for one file.

    The meaning of codes comes from the target's own `codes`, else from the names in the file, else from the field's
    standard, else they count up from 0 in the order of the classes.

    Args:
        target: Of kind ``class``.
        names: Names of the classes that the file holds for the label, in the order of their codes.
        where: The file, for messages.
        strict: Whether all classes must exist; otherwise a file is only scored and may lack some.

    Raises:
        ConfigError: A class is also ignored.
        DataError: Codes or classes disagree with the file.
    """
    label = f"label '{target.variable}' of input '{target.input}'"
    meaning, source = _meaning(target, names, where, label)
    known = set(meaning.values())
    index = {name: i for i, name in enumerate(target.classes)}
    skipped = {name for name in target.ignore if isinstance(name, str)}
    if both := sorted(skipped & set(target.classes)):
        raise ConfigError(f"{label}: {', '.join(both)} is among its classes and in ignore_classes")
    if strict:
        _all_known(target.classes, known, f"{where}: {label}", source)
        _all_known(sorted(skipped), known, f"{where}: ignore_classes of {label}", source)
    table = {code: -1 if name in skipped else index.get(name) for code, name in meaning.items()}
    table.update({code: -1 for code in target.ignore if isinstance(code, int)})
    table.update(dict.fromkeys(NO_LABEL, -1))
    pairs = sorted((code, i) for code, i in table.items() if i is not None)
    return Lookup(tuple(c for c, _ in pairs), tuple(i for _, i in pairs), tuple(sorted(meaning.items())))


def _meaning(target: Target, names: tuple[str, ...] | None, where: str, label: str) -> tuple[dict[int, str], str]:
    """What each code means, and who says so."""
    if target.codes is not None:
        meaning = dict(target.codes)
        for code, name in meaning.items():
            if names is not None and code not in NO_LABEL and (not 0 <= code < len(names) or names[code] != name):
                has = f"'{names[code]}'" if 0 <= code < len(names) else "no class"
                raise DataError(
                    f"{where}: {label}: the config says that code {code} means '{name}', but in the file it is {has}\n"
                    f"the classes of the file are {', '.join(names)}, in the order of their codes from 0"
                )
        return meaning, "in the codes of the config"
    if names is not None:
        return dict(enumerate(names)), "in the file"
    if target.variable in STANDARD_CLASSES:
        return dict(STANDARD_CLASSES[target.variable]), "of that label"
    return dict(enumerate(target.classes)), "in the config (the file has no names; ignore codes instead)"


def _all_known(names: Iterable[str], known: set[str], what: str, source: str) -> None:
    for name in names:
        if name not in known:
            raise DataError(f"{what}: " + unknown("class", name, sorted(known), source))
