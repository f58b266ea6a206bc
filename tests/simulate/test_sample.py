"""The jets that ship with the package are those that the simulation makes."""

import json
import re
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from salt.simulate.chunk import make_chunk
from salt.simulate.fields import FIELDS, dtype
from salt.simulate.files import inputs
from salt.simulate.options import Options

SAMPLE = Path(str(files("salt"))) / "sample"
DOCS = Path(__file__).parents[2] / "docs" / "simulation.md"


def recorded():
    """Options of the command in the README of the sample."""
    words = re.search(r"main simulate (.*)", (SAMPLE / "README.md").read_text())[1].split()
    return dict(zip(words[::2], words[1::2], strict=True))


def test_sample_is_small_balanced_and_as_recorded():
    assert sum(p.stat().st_size for p in SAMPLE.iterdir()) < 5.5e6
    command = recorded()
    for split in ("train", "val", "test"):
        with h5py.File(SAMPLE / f"{split}.h5") as file:
            assert len(file["jets"]) == int(command[f"--num_{split}"])
            counts = np.bincount(file["jets"]["flavour_label"])
            assert counts.max() - counts.min() <= 1
            assert file.attrs["seed"] == int(command["--seed"])
            for name in FIELDS:
                assert file[name].dtype == dtype(name)
    norms = yaml.safe_load((SAMPLE / "norm_dict.yaml").read_text())
    assert {name: list(scales) for name, scales in norms.items()} == {name: inputs(name) for name in FIELDS}


@pytest.mark.slow
def test_sample_can_be_made_again():
    with h5py.File(SAMPLE / "val.h5") as file:
        options = json.loads(file.attrs["options"])
        again = make_chunk(Options(**{**options, "classes": tuple(options["classes"])}), "val", 0)
        n = len(again["jets"])
        for name in FIELDS:
            for column in FIELDS[name]:
                np.testing.assert_allclose(file[name][:n][column.name], again[name][column.name], rtol=1e-2, atol=1e-3)


def test_docs_tell_every_column():
    text = DOCS.read_text()
    for fields in FIELDS.values():
        for column in fields:
            assert f"`{column.name}`" in text, column.name
