"""Values at the edges of small types, and labels that are no one-hot rows."""

import h5py
import numpy as np
import pytest
from files import CLASSES, FLAVOUR, INPUTS, make_jets, write_umami

from salt.data.formats import open_reader
from salt.data.selection import parse
from salt.data.source import Source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abs(charge) > 100", [True, False, False]),
        ("count > -1", [True, True, True]),
        ("count < 300", [True, True, True]),
        ("pt < 70000", [True, True, True]),
        ("pt >= 1e5", [False, False, False]),
    ],
)
def test_conditions_beyond_the_range_of_a_type(text, expected):
    records = np.zeros(3, [("charge", "i1"), ("count", "u1"), ("pt", "f2")])
    records["charge"], records["count"], records["pt"] = [-128, 5, -3], [0, 200, 255], [1, 60000, -2]
    assert parse(text, "selection")(records).tolist() == expected


@pytest.mark.parametrize("shape", ["column", "one-hot"])
def test_umami_labels_in_two_dimensions(tmp_path, shape):
    tables = make_jets(30)
    codes = tables["jets"]["flavour_label"].copy()
    scales = {"jets": {"pt": (0.0, 1.0), "eta": (0.0, 1.0)}, "tracks": dict.fromkeys(("d0", "z0", "dphi"), (0.0, 1.0))}
    path = write_umami(tmp_path / "a.h5", tables, scales)
    codes[:4] = -1
    one_hot = np.where(codes[:, None] < 0, 0, np.eye(3)[codes])
    with h5py.File(path, "a") as file:
        del file["jets/labels"]
        file["jets/labels"] = codes[:, None] if shape == "column" else one_hot
        file["jets/labels"].attrs["label_classes"] = list(CLASSES)
    packed = Source("data.train_file", [open_reader(path, {})], INPUTS, [FLAVOUR]).pack(np.arange(30))
    assert packed.parts["jets"].labels[FLAVOUR].tolist() == codes.tolist()
