"""Bars for work that takes a while."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """Shows a bar while the block runs, if standard error is a terminal and messages are wanted.

    Args:
        what: What is being done.
        total: How much of it there is.

    Yields:
        A function that is told how much more has been done.
    """
    if not (sys.stderr.isatty() and logging.getLogger(__name__).isEnabledFor(logging.INFO)):
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
