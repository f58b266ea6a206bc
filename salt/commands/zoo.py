"""``main zoo``: the models that come with the package, by their names."""

import sys
from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from salt.cli.configs import base_config, load_model, model_text, zoo
from salt.cli.merge import finish, merge
from salt.errors import ConfigError

TRIED = "Tried on "
"""A comment that begins with this says on what, and with which result."""

WIDE = 10_000
"""Columns where nobody looks: what is read by programs is not cut."""


@dataclass(frozen=True)
class Card:
    """What the comment at the top of a model's YAML says of it.

    Args:
        about: The text.
        tried: On what the model was tried, with which result; empty where that is not said.
    """

    about: str
    tried: str

    @property
    def line(self) -> str:
        """The first sentence."""
        return self.about.partition(". ")[0].rstrip(".")


def read_card(text: str) -> Card:
    """Reads the comment at the top of a YAML."""
    about: list[str] = []
    tried: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.lstrip("# ").rstrip()
        (tried if tried or words.startswith(TRIED) else about).append(words)
    return Card(" ".join(about), " ".join(tried).removeprefix(TRIED))


def list_models() -> None:
    """Lists the packaged models: what each is, how large, what it learns, and on what it was tried."""
    table = _table("name", "what", "parameters", "tasks", "tried on")
    table.columns[2].justify = "right"
    for name in zoo():
        card, model = read_card(model_text(name)), _built(name)
        table.add_row(name, card.line, f"{model.parameters:,}", ", ".join(model.tasks), card.tried)
    _print(table)


def show(name: str) -> None:
    """Shows a model, packaged or your own: its size, inputs and tasks, and its YAML.

    Args:
        name: A packaged model, a YAML file, or module:attribute.
    """
    text = model_text(name)
    card, model = read_card(text), _built(name)
    about = _table("model", name)
    if card.about:
        about.add_row("what", card.about)
    if card.tried:
        about.add_row("tried on", card.tried)
    about.add_row("parameters", f"{model.parameters:,}")
    about.add_row("train it", f"main fit -m {name}")
    inputs = _table("input", "variables")
    for key, variables in model.inputs.items():
        inputs.add_row(key, ", ".join(variables))
    tasks = _table("task", "is", "of", "columns")
    for key, cells in model.tasks.items():
        tasks.add_row(key, *cells)
    _print(about, inputs, tasks, text.rstrip())


@dataclass(frozen=True)
class _Built:
    parameters: int
    inputs: Mapping[str, list[str]]
    tasks: Mapping[str, tuple[str, str, str]]


def _built(name: str) -> _Built:
    # It takes seconds to import.
    from salt.commands.saved_model import build

    tree: dict[str, Any] = finish(merge(base_config(), load_model(name)))
    tagger, inputs = build(tree, f"model {name}")
    tasks = {
        key: (type(task).__name__, task.input, ", ".join(c.in_file(tagger.name) for c in task.columns()))
        for key, task in tagger.tasks.items()
    }
    parameters = sum(each.numel() for each in tagger.model.parameters())
    return _Built(parameters, {key: list(each.variables) for key, each in inputs.items()}, tasks)


def run(argv: list[str]) -> int:
    """Runs ``main zoo`` with the words that follow it.

    Args:
        argv: For example ``["show", "gn2"]``.

    Returns:
        The exit code, 0.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for.
    """
    try:
        auto_cli({"list": list_models, "show": show}, args=argv, prog="main zoo", exit_on_error=False)
    except ArgumentError as error:
        raise ConfigError(f"{' '.join(str(error).split())}; see main zoo --help") from None
    return 0


def _table(*headings: str) -> Table:
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    return table


def _print(*parts: object) -> None:
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else WIDE, highlight=False, markup=False)
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part)
