"""The folder of a report: the page, pictures, numbers."""

import csv
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from salt.errors import ConfigError, DataError
from salt.report.history import History
from salt.report.page import PagePanel, PageSection, Picture, render
from salt.report.panels import Panel, Section
from salt.report.runs import describe, differences
from salt.report.tables import Cell, Table

PAGE = "index.html"
NUMBERS = "numbers.json"

CSS_DPI = 84
"""CSS pixels of the page per inch of a picture."""

SHARPNESS = 1.6
"""Pixels of a picture per CSS pixel."""


def check_place(out: Path, overwrite: bool, sign: str, kind: str) -> None:
    """Refuses a folder that cannot be written, or that is there and shall not be replaced.

    Args:
        out: The folder.
        overwrite: Whether it may be replaced, if it is of this kind.
        sign: The name of a file by which it is known as such.
        kind: What it is called.

    Raises:
        ConfigError: It is there.
        DataError: Nothing can be written there.
    """
    above = next(folder for folder in (*out.parents, out) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise DataError(f"cannot write into {above}; give another folder by --out")
    if not out.exists():
        return
    if not overwrite:
        raise ConfigError(f"{out} exists; give --overwrite to replace it, or another folder by --out")
    if not (out / sign).is_file():
        raise ConfigError(f"{out} is no {kind}, so it is not replaced; give another folder by --out")


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """Gives a hidden folder beside `out`, which takes its place when the block ends well.

    Raises:
        DataError: It cannot be written; what was there stays.
    """
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    try:
        beside.mkdir(parents=True)
        yield beside
        if out.exists():
            out.rename(old)
        beside.rename(out)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def write(
    folder: Path, title: str, sections: Sequence[Section], runs: Sequence[History], done: Callable[[], object]
) -> None:
    """Draws everything and writes it.

    Args:
        folder: Where to.
        title: Of the page.
        sections: The results.
        runs: The trainings.
        done: Called after each panel.
    """
    shown = []
    numbers: dict[str, dict[str, object]] = {}
    for section in sections:
        panels = []
        for panel in section.panels:
            panels.append(_panel(folder, section.key, panel))
            if panel.table:
                numbers.setdefault(section.key, {})[panel.key] = _plain(panel.table)
            done()
        shown.append(PageSection(section.key, section.title, panels, section.left_out, section.notes))
    written = time.strftime("%Y-%m-%d %H:%M")
    subtitle = f"Written {written}. Numbers are in {NUMBERS} and in numbers/, pictures in figures/, beside this page."
    text = render(title, subtitle, shown, [describe(run) for run in runs], differences(runs))
    (folder / PAGE).write_text(text, encoding="utf-8")
    (folder / NUMBERS).write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n")


def _panel(folder: Path, section: str, panel: Panel) -> PagePanel:
    files = []
    picture = None
    if panel.draw is not None:
        figure = panel.draw()
        stem = Path("figures", section, panel.key)
        (folder / stem).parent.mkdir(parents=True, exist_ok=True)
        picture = _picture(figure)
        (folder / stem.with_suffix(".png")).write_bytes(picture.png)
        figure.set_layout_engine("none")  # It is laid out already, which takes most of the time.
        figure.savefig(folder / stem.with_suffix(".pdf"))
        files += [("PNG", f"{stem}.png"), ("PDF", f"{stem}.pdf")]
    if panel.table:
        stem = Path("numbers", section, panel.key)
        (folder / stem).parent.mkdir(parents=True, exist_ok=True)
        with (folder / stem.with_suffix(".csv")).open("w", newline="") as out:
            lines = csv.writer(out, lineterminator="\n")
            lines.writerow(panel.table.columns)
            lines.writerows(panel.table.rows)
        files.append(("CSV", f"{stem}.csv"))
    return PagePanel(panel.title, panel.text, picture, panel.shown, files)


def _picture(figure: Figure) -> Picture:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=CSS_DPI * SHARPNESS)
    width, height = figure.get_size_inches()
    return Picture(buffer.getvalue(), round(width * CSS_DPI), round(height * CSS_DPI))


def _plain(table: Table) -> dict[str, object]:
    """As JSON has it, which knows no NaN and no infinity."""

    def cell(value: Cell) -> Cell | None:
        if isinstance(value, float) and not math.isfinite(value):
            return None if math.isnan(value) else "inf"
        return value

    return {"columns": list(table.columns), "rows": [[cell(value) for value in row] for row in table.rows]}
