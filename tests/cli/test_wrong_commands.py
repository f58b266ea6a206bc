"""Mistakes, and the lines that name them. Each ends before the first step and leaves no run folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_case import SMALL_FILES
from conftest import Command
from files import Tables, make_jets, write_structured

JETS = "model.tasks.jets_classification"
Change = Callable[[Tables], Tables]


@dataclass(frozen=True)
class Case:
    """One mistake.

    Args:
        name: What is wrong.
        words: Flags that come last.
        culprit: Words that the message must have.
        change: Makes the mistake in the training file.
        code: The exit code: 2 for the command line, 1 for files.
    """

    name: str
    words: tuple[str, ...] = ()
    culprit: tuple[str, ...] = ()
    change: Change | None = None
    code: int = 2


def put(table: str, field: str, value: float, row: int = 5) -> Change:
    def change(tables: Tables) -> Tables:
        changed = tables[table].copy()
        if table == "jets":
            changed[field][row] = value
        else:
            changed["valid"][row, 0] = True
            changed["ftagTruthOriginLabel"][row, 0] = 2
            for name in ("d0", "z0", "dphi"):
                changed[name][row, 0] = 0.5
            changed[field][row, 0] = value
        return {**tables, table: changed}

    return change


def without(table: str, field: str) -> Change:
    def change(tables: Tables) -> Tables:
        kept = [f for f in tables[table].dtype.names or () if f != field]
        return {**tables, table: np.ascontiguousarray(tables[table][kept])}

    return change


def constant(tables: Tables) -> Tables:
    jets = tables["jets"].copy()
    jets["eta"] = 1.5
    return {**tables, "jets": jets}


def nothing(tables: Tables) -> Tables:
    return {name: table[:0] for name, table in tables.items()}


CASES = [
    Case("misspelt option", ("--data.batchsize=5",), ("data.batchsize", "data.batch_size")),
    Case("misspelt trainer option", ("--trainer.max_epoch=5",), ("trainer.max_epoch", "trainer.max_epochs")),
    Case("misspelt group", ("--trainr.max_epochs=5",), ("trainr", "trainer")),
    Case(
        "misspelt task argument",
        (f"--{JETS}.weigth=5",),
        (f"{JETS}.weigth", "weight"),
    ),
    Case("misspelt encoder argument", ("--model.encoder.num_layer=5",), ("model.encoder.num_layer", "num_layers")),
    Case("misspelt input argument", ("--data.inputs.tracks.variabls=[d0]",), ("data.inputs.tracks", "variabls")),
    Case("a size that follows", ("--model.encoder.embed_dim=5",), ("model.encoder.embed_dim", "by the model")),
    Case("no such class", ("--model.encoder=Transformr",), ("model.encoder", "Transformr")),
    Case("no such task", ("--model.tasks.jet.weight=1",), ("'jet'", "jets_classification")),
    Case("text for a whole number", ("--data.batch_size=abc",), ("data.batch_size", "abc", "whole number")),
    Case("text for a number", ("--model.lrs_config.max=abc",), ("model.lrs_config.max", "abc", "number")),
    Case(
        "text in a task",
        (f"--{JETS}.weight=abc",),
        (f"{JETS}.weight", "abc", "number"),
    ),
    Case("a choice that is none", ("--data.shuffle=some",), ("data.shuffle", "some", "blocks", "weak")),
    Case("negative rate", ("--model.lrs_config.max=-1",), ("model.lrs_config.max", "-1")),
    Case("batch of nothing", ("--data.batch_size=0",), ("data.batch_size", "0")),
    Case(
        "weights that are none",
        (f"--{JETS}.class_weights=blanced",),
        ("class_weights", "blanced"),
    ),
    Case(
        "weights without class dict",
        (f"--{JETS}.class_weights=class_dict",),
        ("class_dict", "jets"),
    ),
    Case("a value is missing", ("--name",), ("--name", "needs a value")),
    Case("a stray word", ("stray",), ("stray",)),
    Case("a short option", ("-b", "5"), ("-b",)),
    Case("config that is not there", ("--config=gn3.yaml",), ("gn3.yaml", "gn2.yaml")),
    Case("no such accelerator", ("--trainer.accelerator=gpuu",), ("gpuu", "cpu")),
    Case("devices that are none", ("--trainer.devices=3x",), ("devices",)),
    Case("log folder is a file", ("--trainer.default_root_dir=train.h5",), ("trainer.default_root_dir", "train.h5")),
    Case("no such checkpoint", ("--ckpt_path=nope.ckpt",), ("nope.ckpt",)),
    Case("no such metric", ("--trainer.callbacks.Checkpoint.monitor=val/lss",), ("val/lss", "val/loss")),
    Case("no such logger", ("--trainer.logger=TensorBordLogger",), ("TensorBordLogger", "nearest: TensorBoardLogger")),
    Case("no such logger of ours", ("--trainer.logger=salt.callbacks.Commet",), ("Commet", "nearest: Comet")),
    Case("no such module", ("--trainer.logger=mypkg.Log",), ("cannot import mypkg.Log", "'mypkg'")),
    Case("no such schedule", ("--model.lrs_config=Cosin",), ("Cosin", "nearest: Cosine")),
    Case("endless cycle", ("--trainer.max_epochs=-1",), ("max_epochs",)),
    Case("shuffle without effect", ("--data.shuffle=weak", "--data.batched_read=false"), ("shuffle", "batched_read")),
    Case("same file twice", ("--data.val_file=train.h5",), ("data.val_file", "train.h5")),
    Case("no such file", ("--data.train_file=trian.h5",), ("data.train_file", "trian.h5", "train.h5"), code=1),
    Case("no such wildcard", ("--data.train_file=x_*.h5",), ("data.train_file", "x_*.h5"), code=1),
    Case("more jets than there are", ("--data.num_train=9999",), ("num_train", "9999", "200"), code=1),
    Case("no such variable", ("--data.inputs.tracks.variables=[d0,dphii]",), ("tracks", "dphii", "dphi"), code=1),
    Case("no such dataset", ("--data.inputs.tracks.dataset=trakcs",), ("trakcs", "tracks"), code=1),
    Case(
        "no such label",
        (f"--{JETS}.label=flavor_label",),
        ("flavor_label", "flavour_label"),
        code=1,
    ),
    Case("selection without sense", ("--data.inputs.jets.selection=[pt >> 5]",), ("pt >> 5",)),
    Case("selection leaves nothing", ("--data.inputs.jets.selection=[pt > 5e9]",), ("selection", "train.h5"), code=1),
    Case(
        "class that is not named",
        (f"--{JETS}.classes=[bjets,cjets]",),
        ("flavour_label", "ujets"),
        code=1,
    ),
    Case("NaN in an input", (), ("train.h5", "tracks", "d0", "5"), put("tracks", "d0", np.nan), 1),
    Case("inf in an input", (), ("train.h5", "jets", "pt", "5"), put("jets", "pt", np.inf), 1),
    Case("code outside the classes", (), ("flavour_label", "7", "ignore_classes"), put("jets", "flavour_label", 7), 1),
    Case("label is not in the file", (), ("train.h5", "flavour_label"), without("jets", "flavour_label"), 1),
    Case("no valid flag", (), ("train.h5", "tracks", "valid"), without("tracks", "valid"), 1),
    Case("a variable that never changes", (), ("data.train_file", "eta"), constant, 1),
    Case("no jets", (), ("train.h5", "no jets"), nothing, 1),
]


def make_folder(folder: Path, change: Change | None = None) -> None:
    tables = make_jets(200, seed=1)
    write_structured(folder / "train.h5", change(tables) if change else tables)
    write_structured(folder / "val.h5", make_jets(60, seed=2, first_event=1000))


def check(code: int, err: str, case: Case, folder: Path) -> None:
    assert code == case.code, err
    lines = [line for line in err.splitlines() if not line.startswith(("no Comet key", "warning: "))]
    assert 1 <= len(lines) <= 3, err
    assert lines[0].startswith("error: "), err
    for word in case.culprit:
        assert word in err, f"{word!r} is not in {err!r}"
    logs = folder / "logs"
    assert not logs.exists() or not list(logs.iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name.replace(" ", "-"))
def test_a_mistake_is_named(case: Case, command: Command, tmp_path: Path) -> None:
    make_folder(tmp_path, case.change)
    result = command("fit", "--config", "gnn", *SMALL_FILES, *case.words)
    check(result.code, result.err, case, tmp_path)


@pytest.mark.parametrize("case", [CASES[0], CASES[9], CASES[38]], ids=lambda c: c.name.replace(" ", "-"))
def test_a_mistake_is_named_by_the_real_command(case: Case, tmp_path: Path) -> None:
    make_folder(tmp_path, case.change)
    done = subprocess.run(
        [sys.executable, "-m", "salt", "fit", "--config", "gnn", *SMALL_FILES, *case.words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    check(done.returncode, done.stderr, case, tmp_path)


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (("fitt",), "fit"),
        (("fit",), "--config"),
        (("test", "--config", "gnn"), "--ckpt_path"),
        (("test", "--config", "nowhere/config.yaml"), "nowhere/config.yaml"),
    ],
)
def test_a_verb_without_what_it_needs(words: tuple[str, ...], culprit: str, command: Command) -> None:
    result = command(*words)
    assert result.code == 2
    assert culprit in result.err
    assert len(result.err.splitlines()) <= 3


def test_a_misspelt_name_in_the_environment(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_folder(tmp_path)
    monkeypatch.setitem(os.environ, "PL_TRAINER__MAX_EPOCHZ", "5")
    result = command("fit", "--config", "gnn", *SMALL_FILES)
    assert result.code == 2
    assert "PL_TRAINER__MAX_EPOCHS" in result.err


def test_a_truncated_file(command: Command, tmp_path: Path) -> None:
    make_folder(tmp_path)
    data = (tmp_path / "train.h5").read_bytes()
    (tmp_path / "train.h5").write_bytes(data[: len(data) // 2])
    result = command("fit", "--config", "gnn", *SMALL_FILES)
    assert result.code == 1
    assert "train.h5" in result.err
    assert len(result.err.splitlines()) <= 3


def test_zero_std_in_the_norm_dict(command: Command, tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "norm.yaml").write_text(
        "jets: {pt: {mean: 50, std: 0}, eta: {mean: 0, std: 1}}\n"
        "tracks: {d0: {mean: 0, std: 1}, z0: {mean: 0, std: 1}, dphi: {mean: 0, std: 1}}\n"
    )
    result = command("fit", "--config", "gnn", *SMALL_FILES, "--data.norm_dict=norm.yaml")
    assert result.code == 1
    assert "pt" in result.err
    assert "norm.yaml" in result.err


def test_a_bad_value_far_down_the_file_stops_at_its_batch(command: Command, tmp_path: Path) -> None:
    make_folder(tmp_path)
    with h5py.File(tmp_path / "train.h5", "a") as file:
        jets = file["jets"][:]
        jets["pt"][150] = np.nan
        file["jets"][...] = jets
    result = command("fit", "--config", "gnn", *SMALL_FILES)
    assert result.code == 1
    assert "150" in result.err
    assert "pt" in result.err
