"""Which runs began from which."""

from collections.abc import Mapping
from pathlib import Path

from salt.runs.folder import runs_in
from salt.runs.lineage import Lineage, read_lineage


def parent_of(lineage: Lineage) -> str | None:
    """The run that a run began from."""
    return lineage.parent.run_id if lineage.parent else None


def eldest(name: str, lineages: Mapping[str, Lineage]) -> str:
    """The first of the ancestors of a run that are known."""
    seen = {name}
    while (parent := parent_of(lineages[name])) is not None and parent in lineages and parent not in seen:
        name = parent
        seen.add(name)
    return name


def family(folder: Path) -> list[Path]:
    """A run's eldest ancestor, and all runs in the same folder that began from that, each after its parent."""
    folders = {each.name: each for each in runs_in(folder.resolve().parent)}
    lineages = {name: read_lineage(each) for name, each in folders.items()}
    found = [eldest(folder.resolve().name, lineages)]
    for name in found:  # It grows on the way.
        found += [each for each in lineages if parent_of(lineages[each]) == name and each not in found]
    return [folders[name] for name in found]
