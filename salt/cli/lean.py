"""Lightning without the packages that torchmetrics imports for metrics and plots which Salt does not make."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

UNUSED = ("matplotlib", "scipy")
"""torchmetrics imports these wherever they are installed: more than a quarter of the time that Lightning takes."""


def import_lightning() -> None:
    """Imports Lightning, and keeps torchmetrics, on which it depends, from importing matplotlib and SciPy.

    Nothing is lost to a class of the user's own: torchmetrics finds SciPy when it computes, and its plots import
    matplotlib when they are drawn. Where torchmetrics is imported already, nothing changes.
    """
    if "torchmetrics" not in sys.modules:
        with _overlooked(UNUSED):
            plot: Any = import_module("torchmetrics.utilities.plot")
        if not hasattr(plot, "plt"):
            plot.plt = _Later("matplotlib.pyplot")
    import_module("lightning.pytorch.cli")


class _Later(ModuleType):
    """A module that is imported when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


@contextmanager
def _overlooked(packages: tuple[str, ...]) -> Iterator[None]:
    """While it lasts, packages look as if they were not installed to those who ask by ``lightning_utilities``."""
    imports: Any = import_module("lightning_utilities.core.imports")
    met = imports.RequirementCache.__bool__
    available = imports.package_available

    def met_by_others(requirement: Any) -> bool:
        return not str(requirement.requirement).startswith(packages) and bool(met(requirement))

    def other_available(name: str) -> bool:
        return name not in packages and bool(available(name))

    imports.RequirementCache.__bool__ = met_by_others
    imports.package_available = other_available
    try:
        yield
    finally:
        imports.RequirementCache.__bool__ = met
        imports.package_available = available
