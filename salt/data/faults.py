"""All that is wrong with the files of a training, where a training ends at the first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import numpy as np

from salt.data.checks import check_distinct, nameless_codes
from salt.data.datamodule import JetDataModule
from salt.data.examine import examine
from salt.data.formats import open_reader
from salt.data.norms import dataset_scales, input_scales, load_class_weights, load_norms
from salt.data.paths import resolve
from salt.data.plan import plan_file
from salt.data.reader import Reader
from salt.data.remote import Place
from salt.data.scan import Scan, Unit, measures_of, scan
from salt.data.source import Source
from salt.data.survey import Measure, Survey, number_scales, scales_of
from salt.errors import SaltError
from salt.inputs import JETS, Input, Target
from salt.statistics import Scale

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Faults:
    """What was found.

    Args:
        errors: Each of them ends a training.
        doubts: Sentences about what does not.
        scans: What is in those of the training and validation files that can be read.
    """

    errors: tuple[SaltError, ...]
    doubts: tuple[str, ...]
    scans: Mapping[str, Scan]


def find_faults(data: JetDataModule, targets: Sequence[Target]) -> Faults:
    """Looks for everything that would end a training before its first step, of what concerns files.

    Every variable, condition and label is tried alone, by the code by which a training tries all of them; then the
    values of those that are left.

    Args:
        data: The files, not set up.
        targets: What the tasks need to be told.
    """
    return _Search(data, targets).result()


def test_doubts(data: JetDataModule) -> list[str]:
    """Sentences about files to be tested later that are not there, or cannot be scored."""
    doubts = []
    for sample in data.samples:
        try:
            for path in resolve(sample.option, "data.test_file"):
                plan_file(open_reader(path, {}, data.reader), data.inputs, (), strict=False)
        except SaltError as error:
            doubts.append(f"a test will fail as things are: {error}")
    return doubts


class _Search:
    def __init__(self, data: JetDataModule, targets: Sequence[Target]) -> None:
        self.data = data
        self.errors: dict[str, SaltError] = {}
        self.doubts: list[str] = []
        self.wrong: set[Unit] = set()
        self.inputs: dict[str, Input] = dict(data.inputs)
        self.targets = tuple(targets)
        self.scans: dict[str, Scan] = {}

    def result(self) -> Faults:
        parts = ["train", *(["val"] if self.data.options["val"] is not None else [])]
        paths = {part: found for part in parts if (found := self._try(self.data._resolve, part)) is not None}
        if "train" in paths:
            others = {"data.val_file": paths.get("val", ()), "data.test_file": self.data._test_paths()}
            for key, found in others.items():
                self._try(check_distinct, paths["train"], {key: found})
        given = self._norms()
        readers = {part: self._open(found) for part, found in paths.items()}
        for reader in (reader for found in readers.values() for reader in found):
            self._try_units(reader)
        sources = self._sources(readers)
        self._class_names(sources)
        for part, source in sources.items():
            values = self._try(scan, source)
            if values is not None:
                self.scans[part] = values
                for unit, error in values.faults.items():
                    self._note(unit, error)
        if "train" in self.scans and self.scans["train"].num_jets:
            self._constants(sources["train"].key, self.scans["train"])
        if self._examine(self._sources(readers), given):
            self.doubts += self._try(nameless_codes, *sources.values()) or []
        return Faults(tuple(self.errors.values()), tuple(dict.fromkeys(self.doubts)), self.scans)

    def _try(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What it returns; None where it fails, which is noted."""
        try:
            return work(*args, **kwargs)
        except SaltError as error:
            self.errors.setdefault(str(error), error)
            return None

    def _fits(self, unit: Unit, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether it does not fail; if it does, the unit is left out from then on."""
        try:
            work(*args, **kwargs)
        except SaltError as error:
            self._note(unit, error)
            return False
        return True

    def _note(self, unit: Unit, error: SaltError) -> None:
        self.errors.setdefault(str(error), error)
        self.wrong.add(unit)

    def _norms(self) -> dict[str, dict[str, Scale]] | None:
        """The given scales, of variables that have one."""
        path = self._try(lambda: self.data._norms)
        norms = self._try(load_norms, path) if path is not None else None
        if path is None or norms is None:
            return None
        given: dict[str, dict[str, Scale]] = {name: {} for name in self.inputs}
        for name, spec in self.inputs.items():
            for variable in spec.variables:
                alone = {name: replace(spec, variables=[variable])}
                if self._fits((name, variable), input_scales, norms, alone, path):
                    given[name] |= input_scales(norms, alone, path)[name]
        return given

    def _open(self, paths: Sequence[Place]) -> list[Reader]:
        opened = [r for path in paths if (r := self._try(open_reader, path, {}, self.data.reader)) is not None]
        if self.data.norm_dict is None or all(reader.format == "structured" for reader in opened):
            return opened
        norms = self._try(lambda: self.data._norms)
        scales = (
            None if norms is None else self._try(lambda: dataset_scales(load_norms(norms), self.data.inputs, norms))
        )
        return [open_reader(reader.path, scales or {}, self.data.reader) for reader in opened]

    def _try_units(self, reader: Reader) -> None:
        """Notes all that a file lacks."""
        bare = {name: replace(spec, variables=[], selection=None) for name, spec in self.inputs.items()}
        jets = {JETS: bare[JETS]}
        if not self._fits((JETS, None), plan_file, reader, jets, (), True):
            return
        for name, spec in self.inputs.items():
            alone = {**jets, name: bare[name]}
            if not self._fits((name, None), plan_file, reader, alone, (), True):
                continue
            for variable in spec.variables:
                one = {**alone, name: replace(bare[name], variables=[variable])}
                self._fits((name, variable), plan_file, reader, one, (), True)
            for condition in spec.selection or ():
                one = {**alone, name: replace(bare[name], selection=[condition])}
                self._fits((name, f"where {condition}"), plan_file, reader, one, (), True)
            for target in self.targets:
                if target.input == name:
                    self._fits((name, target), plan_file, reader, alone, (target,), True)

    def _sources(self, readers: Mapping[str, Sequence[Reader]]) -> dict[str, Source]:
        """The files, read without what is wrong."""
        self._leave_out()
        found = {part: self._source(part, of_part) for part, of_part in readers.items()}
        return {part: source for part, source in found.items() if source is not None}

    def _leave_out(self) -> None:
        """Goes on without what is wrong."""
        kept = {}
        for name, spec in self.data.inputs.items():
            variables = [v for v in spec.variables if (name, v) not in self.wrong]
            selection = [c for c in spec.selection or () if (name, f"where {c}") not in self.wrong]
            if (name, None) not in self.wrong and (variables or name == JETS):
                kept[name] = replace(spec, variables=variables, selection=selection or None)
        self.inputs = kept
        self.targets = tuple(t for t in self.targets if (t.input, t) not in self.wrong and t.input in kept)

    def _source(self, part: str, readers: Sequence[Reader]) -> Source | None:
        if not readers or JETS not in self.inputs:
            return None

        def build(limit: int) -> Source:
            keys = f"data.{part}_file", f"data.num_{part}"
            return Source(keys[0], readers, self.inputs, self.targets, limit, keys[1])

        limit = self.data.limits[part]
        source = self._try(lambda: build(limit))
        return self._try(lambda: build(-1)) if source is None and limit >= 0 else source

    def _class_names(self, sources: Mapping[str, Source]) -> None:
        for source in sources.values():
            self._try(nameless_codes, source)
        if len(sources) > 1:
            self._try(nameless_codes, *sources.values())
        if self.data.class_dict is None or "train" not in sources:
            return
        for target in (t for t in self.data.weighed if t in self.targets):
            codes = self._try(sources["train"].codes, target)
            if codes is not None:
                self._try(load_class_weights, self.data.class_dict, self.inputs, {target: codes})

    def _constants(self, key: str, found: Scan) -> None:
        """Variables and labels that are the same for all jets, or never there."""

        def survey(measures: Mapping[str, Mapping[str, Measure]], numbers: Mapping[Target, Measure]) -> Survey:
            return Survey(found.num_jets, measures, {}, numbers, np.empty(0, np.uint64))

        for name, variable, measure in measures_of(found):
            if self.data.norm_dict is None and (name, variable) not in self.wrong:
                self._fits((name, variable), scales_of, survey({name: {variable: measure}}, {}), key)
        for target, measure in found.numbers.items():
            if (target.input, target) not in self.wrong:
                self._fits((target.input, target), number_scales, survey({}, {target: measure}), key)

    def _examine(self, sources: Mapping[str, Source], given: Mapping[str, Mapping[str, Scale]] | None) -> bool:
        """Notes what a training would have doubts about, without what is wrong; returns whether it could be."""
        if "train" not in sources or not self.inputs[JETS].variables:
            return False
        kept = None
        if given is not None:
            kept = {name: {v: given[name][v] for v in spec.variables} for name, spec in self.inputs.items()}
        found = self._try(examine, sources["train"], sources.get("val"), None, kept, {})
        self.doubts += found[1] if found is not None else []
        return found is not None
