"""``main rejection`` on prediction files, and the same files in puma."""

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from salt.commands.rejection import run
from salt.errors import ConfigError, DataError, SaltError
from salt.rejection import rejection

CODES = {"b": 5, "c": 4, "light": 0}


def write_predictions(path: Path, num: int = 3000, taus: bool = False, truth: str = "cone") -> np.ndarray:
    """A prediction file of a tagger named GN9; the first jet was not scored."""
    rng = np.random.default_rng(3)
    flavour = rng.choice(4 if taus else 3, num, p=[0.3, 0.2, 0.4, 0.1] if taus else [0.3, 0.2, 0.5])
    names = ["pb", "pc", "pu", "ptau"][: 4 if taus else 3]
    logits = rng.normal(0, 1, (num, len(names))) + 1.5 * np.eye(len(names))[flavour]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = {"cone": [("HadronConeExclTruthLabelID", "i4")], "classes": [("flavour_label", "i4")], "none": []}
    jets = np.zeros(num, [("pt", "f4"), *labels[truth], *((f"GN9_{n}", "f4") for n in names)])
    for i, name in enumerate(names):
        jets[f"GN9_{name}"] = p[:, i]
        jets[f"GN9_{name}"][0] = np.nan
    if truth == "cone":
        jets["HadronConeExclTruthLabelID"] = np.array([5, 4, 0, 15])[flavour]
    if truth == "classes":
        jets["flavour_label"] = np.array([2, 0, 1, 3])[flavour]
    with h5py.File(path, "w") as file:
        file["jets"] = jets
        if truth == "classes":
            file["jets"].attrs["flavour_label"] = ["cjets", "ujets", "bjets", "taujets"]
    return jets


def test_the_table_has_the_rejections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jets = write_predictions(tmp_path / "p.h5")[1:]
    assert run([str(tmp_path / "p.h5"), "--efficiency", "0.6", "--f_c", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "GN9 at 60% b-efficiency" in out
    score = np.log(jets["GN9_pb"] / (0.1 * jets["GN9_pc"] + 0.9 * jets["GN9_pu"]))
    label = jets["HadronConeExclTruthLabelID"]
    for name in ("c", "light"):
        point = rejection(score[label == 5], score[label == CODES[name]], 0.6)
        row = re.search(rf"{name} +│ +([\d.]+) │ ± ([\d.]+) │ +(\d+) │ +(\d+)", out)
        assert row is not None
        assert row.groups() == (
            f"{point.value[0]:.1f}",
            f"{point.error[0]:.1f}",
            str(point.passed[0]),
            str((label == CODES[name]).sum()),
        )


def test_flavours_by_the_names_of_classes_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for truth in ("cone", "classes"):
        write_predictions(tmp_path / f"{truth}.h5", taus=True, truth=truth)
        run([str(tmp_path / f"{truth}.h5"), "--f_tau", "0.05"])
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert " tau " in outputs[0]


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_picture_is_drawn(tmp_path: Path, suffix: str) -> None:
    write_predictions(tmp_path / "p.h5")
    run([str(tmp_path / "p.h5"), "--plot", str(tmp_path / f"r.{suffix}")])
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert (tmp_path / f"r.{suffix}").read_bytes().startswith(start)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.h5", f"r.{suffix}"]


def change(**columns: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            jets = file["jets"][:]
            for name, function in columns.items():
                jets[name] = function(jets[name])
            file["jets"][...] = jets

    return apply


def without(column: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            jets = file["jets"][:]
            del file["jets"]
            kept = [name for name in jets.dtype.names if name != column]
            file["jets"] = np.rec.fromarrays([jets[k] for k in kept], names=kept)

    return apply


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "words", "error", "message"),
    [
        (Path.unlink, [], DataError, "unknown file 'p.h5'"),
        (cut_off, [], DataError, "p.h5 cannot be read"),
        (without("GN9_pb"), [], DataError, "a column NAME_pb; found: none"),
        (without("GN9_pu"), [], DataError, "unknown column 'GN9_pu'"),
        (without("HadronConeExclTruthLabelID"), [], DataError, "which jets are b-jets"),
        (change(HadronConeExclTruthLabelID=lambda x: 0 * x), [], DataError, "no scored b-jets"),
        (change(HadronConeExclTruthLabelID=lambda x: 0 * x + 5), [], DataError, "nothing to reject"),
        (nothing, ["--efficiency", "1.5"], ConfigError, "efficiency is 1.5"),
        (nothing, ["--efficiency", "many"], ConfigError, "efficiency"),
        (nothing, ["--eficiency", "0.5"], ConfigError, "--eficiency"),
        (nothing, ["--f_c", "2"], ConfigError, "f_c is 2"),
        (nothing, ["--f_tau", "0.1"], ConfigError, "f_tau is 0.1"),
        (nothing, ["--plot", "r.gif"], ConfigError, "r.gif"),
        (nothing, ["--plot", "absent/r.png"], DataError, "absent/r.png"),
    ],
)
def test_wrong_inputs_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
    words: list[str],
    error: type[SaltError],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_predictions(tmp_path / "p.h5")
    spoil(tmp_path / "p.h5")
    with pytest.raises(error) as caught:
        run(["p.h5", *words])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3
    assert not list(tmp_path.glob(".*"))
