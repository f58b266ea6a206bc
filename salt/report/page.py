"""The page: one HTML file that holds all of its pictures."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2

from salt.report.tables import Cell, Table


@dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Args:
        png: Its bytes.
        width: How wide it is shown, in CSS pixels.
        height: How high.
    """

    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class PagePanel:
    """What the page shows of a panel.

    Args:
        title: Its title.
        text: Its definition.
        picture: None for a table.
        table: None for a picture.
        files: Name and relative path of each file with it.
    """

    title: str
    text: str
    picture: Picture | None
    table: Table | None
    files: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class PageSection:
    """What the page shows of a section."""

    key: str
    title: str
    panels: Sequence[PagePanel]
    left_out: Mapping[str, str]
    notes: Sequence[str]


@dataclass(frozen=True)
class PageRun:
    """What the page shows of a run.

    Args:
        name: Its id.
        facts: Name and value of what is known of it.
        config: The text of its config.
    """

    name: str
    facts: Mapping[str, str]
    config: str


@dataclass(frozen=True)
class PageDifference:
    """A value of a config that is another one in the first run."""

    key: str
    old: str
    run: str
    new: str


def render(
    title: str,
    subtitle: str,
    sections: Sequence[PageSection],
    runs: Sequence[PageRun],
    differences: Sequence[PageDifference],
) -> str:
    """The text of the page."""
    text = resources.files("salt.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    shown = [
        {
            "key": section.key,
            "title": section.title,
            "panels": [_panel(panel) for panel in section.panels],
            "left_out": section.left_out,
            "notes": section.notes,
        }
        for section in sections
    ]
    return environment.from_string(text).render(
        title=title, subtitle=subtitle, sections=shown, runs=runs, differences=differences
    )


def _panel(panel: PagePanel) -> dict[str, Any]:
    picture = panel.picture
    return {
        "title": panel.title,
        "text": panel.text,
        "image": base64.b64encode(picture.png).decode() if picture else "",
        "width": picture.width if picture else 0,
        "height": picture.height if picture else 0,
        "table": _table(panel.table) if panel.table else None,
        "files": [{"name": name, "path": path} for name, path in panel.files],
    }


def _table(table: Table) -> dict[str, Any]:
    """Without columns that are empty."""
    kept = [i for i in range(len(table.columns)) if any(not _is_nan(row[i]) for row in table.rows)]
    numeric = [all(_is_number(row[i]) for row in table.rows) for i in kept]
    return {
        "heads": [{"name": table.columns[i], "number": n} for i, n in zip(kept, numeric, strict=True)],
        "rows": [
            [{"text": shown(row[i]), "number": n} for i, n in zip(kept, numeric, strict=True)] for row in table.rows
        ],
    }


def _is_number(cell: Cell) -> bool:
    """Whether it is one, be it with an error or as a limit."""
    return not isinstance(cell, str) or cell[:1].isdigit() or cell.startswith(">")


def shown(cell: Cell) -> str:
    """How the page writes a number."""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else "∞" if math.isinf(cell) else f"{cell:.4g}"
    return str(cell)


def _is_nan(cell: Cell) -> bool:
    return isinstance(cell, float) and math.isnan(cell)
