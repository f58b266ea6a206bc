"""A training that was killed, several times and anywhere, ends as one that was not: to the last bit."""

from itertools import product
from pathlib import Path

import pytest
from killed import Settings, differences, draw_kills, final_state, finish, killed_and_resumed, prepare
from logged import repeatable

ALL = [Settings(*values) for values in product((0, 2), (True, False), (False, True), (1, 2))]
GRID = list(enumerate([*ALL, ALL[0], ALL[7], ALL[10], ALL[13]]))
USUAL = (3, 10)
"""Numbers of those that every run of the tests does."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[bool, int], Path]:
    """Folders of trainings that are left alone, by what changes their batches; filled by who needs one."""
    return {}


def uninterrupted(whole: dict[tuple[bool, int], Path], settings: Settings, factory: pytest.TempPathFactory) -> Path:
    key = (settings.batched, settings.ranks)
    if key not in whole:
        folder = factory.mktemp("whole")
        prepare(folder)
        assert finish(folder, Settings(0, settings.batched, False, settings.ranks).words())
        whole[key] = folder
    return whole[key]


@pytest.mark.parametrize(
    ("number", "settings"),
    [pytest.param(n, s, marks=[] if n in USUAL else [pytest.mark.slow], id=str(n)) for n, s in GRID],
)
def test_killed_and_resumed_is_as_never_killed(
    number: int,
    settings: Settings,
    whole: dict[tuple[bool, int], Path],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    theirs = uninterrupted(whole, settings, tmp_path_factory)
    prepare(tmp_path)
    kills = draw_kills(number)
    assert killed_and_resumed(tmp_path, settings, kills) >= 1, f"never killed: {kills}"
    assert differences(final_state(tmp_path), final_state(theirs)) == []
    (metrics,), (their_metrics,) = tmp_path.glob("logs/*/metrics.csv"), theirs.glob("logs/*/metrics.csv")
    assert repeatable(metrics) == repeatable(their_metrics)
    assert not list((tmp_path / "fast").glob("*"))
