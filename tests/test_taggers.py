"""What the boosted trees of the benchmark see of a jet."""

from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_rows_of_leading_tracks_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    taggers = import_module("taggers")
    variables = taggers.TRACK_VARIABLES
    tracks = np.zeros((3, 4), [*((v, "f4") for v in variables), ("valid", "?")])
    significance = variables.index(taggers.ORDER)
    tracks[taggers.ORDER] = [[1, -5, 99, 3], [2, 0, 0, 0], [0, 0, 0, 0]]
    tracks["d0"] = np.arange(12).reshape(3, 4)
    tracks["valid"] = [[True, True, False, True], [True, False, False, False], [False] * 4]
    jets = np.zeros(3, [("pt", "f4"), ("eta", "f4"), (taggers.FLAVOUR, "i4")])
    jets["pt"], jets[taggers.FLAVOUR] = [10, 20, 30], [0, 5, 4]
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["jets"], file["tracks"] = jets, tracks
    x, y = taggers.table(tmp_path / "train.h5", 2)
    assert x.shape == (3, 3 + 2 * len(variables))
    assert y.tolist() == [2, 0, 1]  # of b, c and light
    np.testing.assert_array_equal(x[:, :3], [[10, 0, 3], [20, 0, 1], [30, 0, 0]])
    first, second = (3 + i * len(variables) for i in range(2))
    np.testing.assert_array_equal(x[:, first + significance], [-5, 2, np.nan])
    np.testing.assert_array_equal(x[:, second + significance], [3, np.nan, np.nan])
    np.testing.assert_array_equal(x[:, first + variables.index("d0")], [1, 4, np.nan])
