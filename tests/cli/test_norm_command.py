"""`main norm` against NumPy on whole arrays, and against what a training measures itself."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from cli_case import SMALL_FILES
from conftest import Command
from files import CLASSES, make_jets, with_field, write_structured

SELECTION = """
data:
  inputs:
    tracks: {selection: [d0 > -0.5], max_count: 3}
model:
  tasks:
    jets_classification: {class_weights: balanced}
    origin:
      class_path: Classification
      input: tracks
      label: ftagTruthOriginLabel
      class_weights: balanced
      ignore_classes: [Fake, 7]
      classes: [FromC, Primary, FromB, FromBC, FromTau, Pileup]
"""

GIVEN = """
data: {norm_dict: prep/norm_dict.yaml, class_dict: prep/class_dict.yaml}
model:
  tasks:
    jets_classification: {class_weights: class_dict}
    origin: {class_weights: class_dict}
"""


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def test_all_numbers_of_several_files(command: Command, tmp_path: Path) -> None:
    parts = [make_jets(n, seed=n, scattered=True, first_event=n) for n in (2_300, 1, 1_700)]
    for i, part in enumerate(parts):
        jets = with_field(part["jets"], "far", 1e6 + part["jets"]["pt"])
        tracks = with_field(part["tracks"], "constant", 3)
        part |= {"jets": with_field(jets, "broken", np.where(jets["pt"] > 199, np.inf, 1)), "tracks": tracks}
        write_structured(tmp_path / f"part_{i}.h5", part)
    result = command("norm", "part_*.h5", "--out", "prep")
    assert result.code == 0, result.err
    jets, tracks = (np.concatenate([p[name] for p in parts]) for name in ("jets", "tracks"))
    real = tracks[tracks["valid"]]
    norms = read(tmp_path / "prep" / "norm_dict.yaml")
    assert {name: list(table) for name, table in norms.items()} == {
        "jets": ["pt", "eta", "far"],
        "tracks": ["d0", "z0", "dphi"],
    }
    for table, columns in (("jets", jets), ("tracks", real)):
        for variable, scale in norms[table].items():
            exact = columns[variable].astype(np.float64)
            assert scale["mean"] == pytest.approx(exact.mean(), rel=1e-9, abs=1e-9)
            assert scale["std"] == pytest.approx(exact.std(), rel=1e-9)
    weights = read(tmp_path / "prep" / "class_dict.yaml")
    assert {name: list(table) for name, table in weights.items()} == {
        "jets": ["flavour_label"],
        "tracks": ["ftagTruthOriginLabel"],
    }
    for found, codes, number in (
        (weights["jets"]["flavour_label"], jets["flavour_label"], 3),
        (weights["tracks"]["ftagTruthOriginLabel"], real["ftagTruthOriginLabel"], 8),
    ):
        expected = len(codes) / (number * np.bincount(codes))
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert "left out: 'broken' of 'jets' is not finite in" in result.out
    assert "left out: 'constant' of 'tracks' is always 3" in result.out
    assert "4001 jets of 3 files" in result.out


def test_a_training_with_these_files_is_one_that_measures_itself(command: Command, tmp_path: Path) -> None:
    for name, jets in (("train", make_jets(1_500, 1)), ("val", make_jets(100, 2, first_event=9_000))):
        write_structured(tmp_path / f"{name}.h5", jets)
    (tmp_path / "own.yaml").write_text(SELECTION + "    track_origin: null\n    track_vertexing: null\n")
    (tmp_path / "given.yaml").write_text(GIVEN)
    (tmp_path / "inputs.yaml").write_text("data: {inputs: {tracks: {variables: [d0, z0, dphi]}}}")
    configs = ["--config", "gnn", "--config", "inputs.yaml", "--config", "own.yaml"]
    result = command("norm", "train.h5", *configs, "--out", "prep")
    assert result.code == 0, result.err
    assert list(read(tmp_path / "prep" / "norm_dict.yaml")["tracks"]) == ["d0", "z0", "dphi"]
    weights = []
    for name, further in (("measured", []), ("given", ["--config", "given.yaml"])):
        flags = [word for word in SMALL_FILES if "track_" not in word and "inputs" not in word]
        result = command("fit", *configs, *further, *flags, f"--trainer.default_root_dir={name}")
        assert result.code == 0, result.err
        (checkpoint,) = tmp_path.glob(f"{name}/*/ckpts/last.ckpt")
        weights.append(torch.load(checkpoint, weights_only=True)["state_dict"])
    measured, given = weights
    assert measured.keys() == given.keys()
    assert any("class_weight" in name and (value != 1).any() for name, value in measured.items())
    for name, value in measured.items():
        assert torch.equal(value, given[name]), name


def test_codes_of_a_label_map_in_their_order(command: Command, tmp_path: Path) -> None:
    tables = make_jets(300)
    tables["jets"]["flavour_label"] = np.array([5, 4, 15])[tables["jets"]["flavour_label"]]
    write_structured(tmp_path / "train.h5", tables, classes=None)
    task = "{class_path: Classification, input: jets, label: flavour_label, label_map: {5: bjets, 4: cjets, 15: taus}}"
    (tmp_path / "own.yaml").write_text(
        f"data: {{inputs: {{tracks: {{variables: [d0]}}}}}}\nmodel: {{tasks: {{flavour: {task}}}}}"
    )
    result = command("norm", "train.h5", "--config", "own.yaml")
    assert result.code == 0, result.err
    _, counts = np.unique(tables["jets"]["flavour_label"], return_counts=True)  # of 4, 5 and 15
    found = read(tmp_path / "class_dict.yaml")["jets"]["flavour_label"]
    np.testing.assert_allclose(found, 100 / counts, rtol=1e-12)


def test_nothing_is_overwritten_unasked(command: Command, tmp_path: Path) -> None:
    write_structured(tmp_path / "train.h5", make_jets(50))
    (tmp_path / "class_dict.yaml").write_text("mine")
    result = command("norm", "train.h5")
    assert result.code == 2
    assert "class_dict.yaml is there already" in result.err
    assert not (tmp_path / "norm_dict.yaml").exists()
    assert command("norm", "train.h5", "--overwrite").code == 0
    assert list(read(tmp_path / "class_dict.yaml")) == ["jets", "tracks"]


def test_labels_whose_files_disagree_have_no_weights_and_are_named(command: Command, tmp_path: Path) -> None:
    for name, classes in (("train_1.h5", CLASSES), ("train_2.h5", CLASSES[::-1])):
        write_structured(tmp_path / name, make_jets(50), classes=classes)
    result = command("norm", "train_*.h5")
    assert result.code == 0, result.err
    assert "left out: label 'flavour_label' of 'jets' has classes that the files name differently" in result.out
    assert list(read(tmp_path / "class_dict.yaml")) == ["tracks"]
    assert set(read(tmp_path / "norm_dict.yaml")) == {"jets", "tracks"}
    assert "flavour_label" not in read(tmp_path / "norm_dict.yaml")["jets"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.h5", "train_1.h5", "train_1.h5"], "train_1.h5 is named twice"),
        (["trian_1.h5"], "nearest: train_1.h5"),
        (["train_1.h5", "--config", "gnn"], "unknown variable 'z0SinTheta'"),
        (["train_1.h5", "--config", "bad.yaml"], "unknown option 'variable' in data.inputs.tracks"),
        (["train_1.h5", "--config", "codes.yaml"], "none of the classes bjets, ujets"),
        (["train_1.h5", "--ot", "x", "--nonsense"], "see main norm --help"),
    ],
)
def test_mistakes(command: Command, tmp_path: Path, words: list[str], message: str) -> None:
    for name in ("train.h5", "train_1.h5"):
        write_structured(tmp_path / name, make_jets(50))
    (tmp_path / "bad.yaml").write_text("data: {inputs: {tracks: {variable: [d0]}}}")
    (tmp_path / "codes.yaml").write_text(
        "data: {inputs: {tracks: {variables: [d0]}}}\n"
        "model: {tasks: {f: {class_path: Classification, input: jets, label: flavour_label, classes: [bjets, ujets]}}}"
    )
    result = command("norm", *words, "--out", "prep")
    assert result.code in (1, 2)
    assert message in result.err
    assert not (tmp_path / "prep").exists()


def test_files_without_labels_have_no_class_weights(command: Command, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["jets"] = make_jets(50)["jets"][["pt", "eta"]]
    result = command("norm", "data.h5")
    assert result.code == 0, result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.h5", "norm_dict.yaml"]
