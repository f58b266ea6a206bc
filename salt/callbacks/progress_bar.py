"""Progress in a terminal."""

import sys
from typing import Any

from lightning.pytorch import Trainer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

from salt.callbacks.progress import Progress
from salt.callbacks.status import Status
from salt.callbacks.throughput import Throughput

EVERY = 0.5
"""Seconds between two looks."""


class ProgressBar(Progress):
    """Two lines at the bottom of a terminal; what is printed meanwhile goes above them.

    Args:
        throughput: What counts the jets of the training.
    """

    def __init__(self, throughput: Throughput) -> None:
        super().__init__(throughput)
        self._live: Live | None = None

    def begin(self, trainer: Trainer) -> None:
        """Shows the bar."""
        self._next = self.clock()
        if self._live is None and trainer.is_global_zero:
            console = _Console(file=sys.stderr, force_terminal=True)
            self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="visible")
            self._live.start()

    def show(self, trainer: Trainer, status: Status) -> float:
        """Draws the bar anew."""
        if self._live is not None:
            self._live.update(_draw(status), refresh=True)
        return EVERY

    def end(self) -> None:
        """Removes the bar."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()


class _Console(Console):
    """Leaves the cursor as it is, so that nothing has to be put right when a process is killed."""

    def show_cursor(self, show: bool = True) -> bool:
        return True


def _draw(status: Status) -> Any:
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    for _ in range(2):
        line.add_column(no_wrap=True, justify="right")
    bar = Bar(total=status.total or 1, completed=status.done if status.total else 0)
    line.add_row(Text(status.what, style="bold"), bar, status.count, Text(status.remaining, style="cyan"))
    return Group(line, Text("  ".join(status.numbers), style="dim"))
