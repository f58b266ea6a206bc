"""What a backtest leaves: a picture and a CSV file for each sample, and a JSON file."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from salt.report.backtest import Backtest, Measured, Question, Value
from salt.report.draw.backtest import draw
from salt.report.draw.style import styled
from salt.report.slices import Slices

JSON = "backtest.json"

DPI = 130


@dataclass(frozen=True, eq=False)
class Sample:
    """The results of one sample.

    Args:
        name: Its name, which its files have too.
        slices: The slices.
        found: The taggers.
    """

    name: str
    slices: Slices
    found: tuple[Backtest, ...]

    @property
    def metrics(self) -> list[str]:
        """The names of all that is measured."""
        return list(dict.fromkeys(name for each in self.found for name in each.whole.values))

    @property
    def shown(self) -> list[str]:
        """The names of what is printed and drawn: at cuts those of the first efficiency."""
        names = self.metrics
        area = "auc_bjets" if "auc_bjets" in names else "auc"
        first = next((name.partition("_at_")[2] for name in names if "_at_" in name), "")
        at_cut = [name for name in names if first and name.endswith(f"_at_{first}")]
        return ["accuracy", area, *sorted(at_cut, key=lambda name: not name.startswith("efficiency"))]


def write(folder: Path, question: Question, samples: Sequence[Sample]) -> None:
    """Writes everything into a folder that is there."""
    for sample in samples:
        with (folder / f"{sample.name}.csv").open("w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows(_rows(sample))
        title = f"{sample.name}, {sum(each.jets for each in sample.found[0].slices):,} jets"
        with styled():
            picture = draw(title, sample.slices, sample.found, sample.shown)
            for suffix in ("png", "pdf"):
                picture.savefig(folder / f"{sample.name}.{suffix}", dpi=DPI)
    text = json.dumps(_tree(question, samples), indent=1, allow_nan=False)
    (folder / JSON).write_text(f"{text}\n")


def _rows(sample: Sample) -> list[list[object]]:
    classes = list(dict.fromkeys(name for each in sample.found for name in each.whole.counts))
    heading: list[object] = ["tagger", "slice", "low", "high", "jets", *classes]
    for name in sample.metrics:
        heading += [name, f"{name}_error", *([f"{name}_more_than"] if name.startswith("rejection") else [])]
    rows = [heading]
    slices = sample.slices
    for each in sample.found:
        named = zip(slices.labels, slices.low.tolist(), slices.high.tolist(), each.slices, strict=True)
        whole = ("all", slices.low.min().item(), slices.high.max().item(), each.whole)
        for label, low, high, measured in (whole, *named):
            cells: list[object] = [each.name, label, low, high, measured.jets]
            cells += [measured.counts.get(name, 0) for name in classes]
            for name in sample.metrics:
                value = measured.values.get(name, Value(nan))
                cells += [_cell(value.value), _cell(value.error)]
                cells += [_cell(value.more_than)] if name.startswith("rejection") else []
            rows.append(cells)
    return rows


def _cell(value: float) -> object:
    return value if isfinite(value) else ""


def _tree(question: Question, samples: Sequence[Sample]) -> dict[str, object]:
    return {
        "by": question.variable,
        "cut": "slice" if question.own_cut else "sample",
        "fractions": {"c": question.fractions.c, "tau": question.fractions.tau},
        "samples": {sample.name: _sample(sample) for sample in samples},
    }


def _sample(sample: Sample) -> dict[str, object]:
    slices = sample.slices
    named = zip(slices.labels, slices.low.tolist(), slices.high.tolist(), strict=True)
    return {
        "variable": slices.variable,
        "unit": slices.unit,
        "slices": [{"slice": label, "low": low, "high": high} for label, low, high in named],
        "taggers": {each.name: _tagger(each) for each in sample.found},
    }


def _tagger(found: Backtest) -> dict[str, object]:
    return {
        "predictions": str(found.path),
        "label": found.label,
        "outside": found.outside,
        "left_out": found.left_out,
        "notes": list(found.notes),
        "all": _measured(found.whole),
        "slices": [_measured(each) for each in found.slices],
    }


def _measured(one: Measured) -> dict[str, object]:
    metrics = {name: _value(value) for name, value in one.values.items()}
    return {"jets": one.jets, "classes": dict(one.counts), "metrics": metrics}


def _value(value: Value) -> Mapping[str, float | None]:
    known = {"value": value.value, "error": value.error}
    found: dict[str, float | None] = {key: x if isfinite(x) else None for key, x in known.items()}
    return {**found, "more_than": value.more_than} if isfinite(value.more_than) else found
