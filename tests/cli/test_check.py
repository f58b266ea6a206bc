"""`main check` finds what is planted in files and configs, says what `main fit` says of it, and writes nothing."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from cli_case import SMALL_FILES
from conftest import SMALL, Command
from files import Tables, make_jets, with_field, write_structured

from salt.cli.configs import zoo
from salt.data import space

JETS = "model.tasks.jets_classification"
Change = Callable[[Tables], Tables]


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    Args:
        name: What it is.
        culprit: Words that one finding must have.
        words: Flags that come last.
        change: Plants it in the training file.
        code: The exit code: 0 for a warning, 1 for files, 2 for the config.
        more: Plants it elsewhere in the folder.
        alike: Whether fit has the same words for it.
    """

    name: str
    culprit: tuple[str, ...]
    words: tuple[str, ...] = ()
    change: Change | None = None
    code: int = 1
    more: Callable[[Path], None] | None = None
    alike: bool = True


def put(table: str, field: str, value: float, rows: int | slice = 5) -> Change:
    def change(tables: Tables) -> Tables:
        changed = tables[table].copy()
        if table == "jets":
            changed[field][rows] = value
        else:
            changed[field][rows] = np.where(changed["valid"][rows], value, changed[field][rows])
        return {**tables, table: changed}

    return change


def retype(table: str, field: str, dtype: str) -> Change:
    def change(tables: Tables) -> Tables:
        old = tables[table]
        new = np.zeros(old.shape, [(n, dtype if n == field else old.dtype[n]) for n in old.dtype.names or ()])
        for name in old.dtype.names or ():
            new[name] = 1e300 if name == field and dtype == "f8" else b"x" if name == field else old[name]
        return {**tables, table: new}

    return change


def without(table: str, field: str) -> Change:
    def change(tables: Tables) -> Tables:
        kept = [f for f in tables[table].dtype.names or () if f != field]
        return {**tables, table: np.ascontiguousarray(tables[table][kept])}

    return change


def no_charm(tables: Tables) -> Tables:
    jets = tables["jets"].copy()
    jets["flavour_label"][jets["flavour_label"] == 1] = 2
    return {**tables, "jets": jets}


def truth(tables: Tables) -> Tables:
    return {**tables, "jets": with_field(tables["jets"], "HadronConeExclTruthLabelPt", np.arange(200.0))}


def cut(folder: Path) -> None:
    data = (folder / "train.h5").read_bytes()
    (folder / "train.h5").write_bytes(data[: len(data) // 2])


def write_norms(**changes: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        norms: dict[str, dict[str, object]] = {
            "jets": {"pt": {"mean": 110, "std": 52}, "eta": {"mean": 0, "std": 1.4}},
            "tracks": {v: {"mean": i, "std": 1 + i} for i, v in enumerate(("d0", "z0", "dphi"))},
        }
        for key, entry in changes.items():
            table, _, variable = key.partition("_")
            norms[table] = {k: v for k, v in {**norms[table], variable: entry}.items() if v is not None}
        (folder / "norm.yaml").write_text(yaml.safe_dump(norms))

    return write


def put_in_val(tables: str, field: str, value: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with h5py.File(folder / "val.h5", "a") as file:
            records = file[tables][:]
            records[field][7] = value
            file[tables][...] = records

    return change


def val_without_z0(folder: Path) -> None:
    write_structured(folder / "val.h5", without("tracks", "z0")(make_jets(60, seed=2, first_event=1000)))


def truth_in_val(folder: Path) -> None:
    tables = make_jets(60, seed=2, first_event=1000)
    jets = with_field(tables["jets"], "HadronConeExclTruthLabelPt", np.arange(60.0))
    write_structured(folder / "val.h5", {**tables, "jets": jets})


def same_jets(folder: Path) -> None:
    write_structured(folder / "val.h5", {k: v[:60] for k, v in make_jets(200, seed=1).items()})


def class_weights(folder: Path) -> None:
    (folder / "class.yaml").write_text("jets: {flavour_label: [1, 2]}")


DERIVED = "--data.num_workers=null"
NORMS = "--data.norm_dict=norm.yaml"
FAULTS = [
    Fault("missing file", ("data.train_file", "'trian.h5'", "nearest: train.h5"), ("--data.train_file=trian.h5",)),
    Fault("missing validation", ("data.val_file", "'vla.h5'"), ("--data.val_file=vla.h5",)),
    Fault("truncated file", ("train.h5", "not a complete HDF5 file"), more=cut),
    Fault("missing dataset", ("'trakcs'", "nearest: tracks"), ("--data.inputs.tracks.dataset=trakcs",)),
    Fault("missing variable", ("'dphii'", "nearest: dphi"), ("--data.inputs.tracks.variables=[d0,z0,dphii]",)),
    Fault("validation lacks a variable", ("val.h5", "'z0'"), more=val_without_z0),
    Fault("missing label", ("'flavor_label'", "flavour_label"), (f"--{JETS}.label=flavor_label",)),
    Fault("real label", ("label 'pt'", "must be an integer"), (f"--{JETS}.label=pt",)),
    Fault("no valid flag", ("'tracks'", "'valid'"), change=without("tracks", "valid")),
    Fault(
        "damaged file",
        ("'tracks' has 150 rows", "jets have 200"),
        change=lambda t: {**t, "tracks": t["tracks"][:150]},
    ),
    Fault("text for numbers", ("'eta'", "text"), change=retype("jets", "eta", "S4")),
    Fault("beyond float32", ("'pt'", "1e+300", "200 of 200 entries"), change=retype("jets", "pt", "f8")),
    Fault(
        "NaN in tracks",
        ("'d0'", "is nan in row", "are not finite"),
        change=put("tracks", "d0", np.nan, slice(50, 70)),
    ),
    Fault("infinite validation", ("val.h5", "'pt'", "inf in row 7", "1 of 60"), more=put_in_val("jets", "pt", np.inf)),
    Fault("constant variable", ("'eta'", "1.5 in all"), change=put("jets", "eta", 1.5, slice(None))),
    Fault(
        "dead variable", ("warning", "jets.eta is 0 for 99.5%"), change=put("jets", "eta", 0, slice(1, None)), code=0
    ),
    Fault(
        "unknown class", ("'flavour_label'", "is 7 in row 5", "ignore_classes"), change=put("jets", "flavour_label", 7)
    ),
    Fault("undeclared class", ("'ujets' in this file",), (f"--{JETS}.classes=[bjets,cjets]",)),
    Fault("class of no jet", ("warning", "class 'cjets'", "cannot be learned"), change=no_charm, code=0),
    Fault("no jets", ("there are no jets", "train.h5"), change=lambda t: {k: v[:0] for k, v in t.items()}),
    Fault("selection leaves none", ("no jets that pass",), ("--data.inputs.jets.selection=[pt > 5e9]",)),
    Fault("too few jets", ("data.num_train is 9999", "200"), ("--data.num_train=9999",)),
    Fault(
        "truth among the inputs",
        ("warning", "truth", "jets.HadronConeExclTruthLabelPt"),
        ("--data.inputs.jets.variables=[pt,eta,HadronConeExclTruthLabelPt]",),
        truth,
        0,
        truth_in_val,
    ),
    Fault(
        "label among the inputs",
        ("warning", "truth", "jets.pt"),
        (
            "--model.tasks.momentum.class_path=Regression",
            "--model.tasks.momentum.input=jets",
            "--model.tasks.momentum.labels=[pt]",
        ),
        code=0,
    ),
    Fault(
        "shifted norms",
        ("warning", "norm_dict is far", "jets.pt"),
        (NORMS,),
        code=0,
        more=write_norms(jets_pt={"mean": 110_000, "std": 52}),
    ),
    Fault(
        "norms of another unit",
        ("warning", "norm_dict is far", "jets.pt"),
        (NORMS,),
        code=0,
        more=write_norms(jets_pt={"mean": 0.11, "std": 520_000}),
    ),
    Fault("norms lack a variable", ("norm.yaml", "'d0'"), (NORMS,), more=write_norms(tracks_d0=None)),
    Fault(
        "norms without spread",
        ("norm.yaml", "'pt'", "std 0"),
        (NORMS,),
        more=write_norms(jets_pt={"mean": 1, "std": 0}),
    ),
    Fault(
        "weights of other classes",
        ("class.yaml", "2 weights"),
        ("--data.class_dict=class.yaml", f"--{JETS}.class_weights=class_dict"),
        more=class_weights,
    ),
    Fault("same file twice", ("data.val_file are the same file",), ("--data.val_file=train.h5",), code=2),
    Fault("same jets twice", ("warning", "60 of 60 validation jets", "also among"), code=0, more=same_jets),
    Fault("missing test file", ("warning", "a test will fail", "tset.h5"), ("--data.test_file=tset.h5",), code=0),
    Fault("misspelt option", ("data.batchsize", "data.batch_size"), ("--data.batchsize=5",), code=2),
    Fault("misspelt group", ("'trainr'", "trainer"), ("--trainr.max_epochs=5",), code=2),
    Fault("misspelt argument", (f"{JETS}.weigth", "weight"), (f"--{JETS}.weigth=5",), code=2),
    Fault("text for a number", ("model.lrs_config.max", "abc"), ("--model.lrs_config.max=abc",), code=2),
    Fault("batch of nothing", ("data.batch_size is 0",), ("--data.batch_size=0",), code=2),
    Fault("no such class", ("model.encoder", "Transformr"), ("--model.encoder=Transformr",), code=2),
    Fault("task of no input", ("'muons'",), (f"--{JETS}.input=muons",), code=2),
    Fault("no such metric", ("val/lss", "val/loss"), ("--trainer.callbacks.Checkpoint.monitor=val/lss",), code=2),
    Fault("endless schedule", ("max_epochs",), ("--trainer.max_epochs=-1",), code=2),
    Fault("no such checkpoint", ("nope.ckpt",), ("--ckpt_path=nope.ckpt",), code=2),
    Fault("no such accelerator", ("gpuu",), ("--trainer.accelerator=gpuu",), code=2),
    Fault("devices that are none", ("trainer.devices", "3x"), ("--trainer.devices=3x",), code=2, alike=False),
    Fault(
        "log folder is a file",
        ("trainer.default_root_dir", "train.h5"),
        ("--trainer.default_root_dir=train.h5",),
        code=2,
        alike=False,
    ),
    Fault("too many workers", ("warning", "data.num_workers is 999", "cores"), ("--data.num_workers=999",), code=0),
    Fault(
        "staging to a file", ("data.move_files_temp", "val.h5"), ("--data.move_files_temp=val.h5/fast",), alike=False
    ),
]


def make_folder(folder: Path, fault: Fault) -> None:
    tables = make_jets(200, seed=1)
    write_structured(folder / "train.h5", fault.change(tables) if fault.change else tables)
    write_structured(folder / "val.h5", make_jets(60, seed=2, first_event=1000))
    if fault.more:
        fault.more(folder)


def findings(text: str, level: str) -> list[str]:
    """The findings of one level, each in one line."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith((f"{level} ", f"{level}:")):
            found.append(line)
        elif line.startswith(" " * 9) and found:
            found[-1] += " " + line.strip()
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name.replace(" ", "-"))
def test_a_planted_fault_is_found(fault: Fault, command: Command, tmp_path: Path) -> None:
    make_folder(tmp_path, fault)
    before = sorted(tmp_path.rglob("*"))
    result = command("check", "--config", "gnn", *SMALL_FILES, DERIVED, *fault.words)
    assert sorted(tmp_path.rglob("*")) == before
    level = "error" if fault.code else "warning"
    culprit = [word for word in fault.culprit if word != "warning"]
    named = [line for line in findings(result.out, level) if all(word in line for word in culprit)]
    assert named, result.out + result.err
    assert result.code == fault.code, result.out
    errors = findings(result.out, "error")
    assert errors == (named if fault.code else []), "something else is complained of"
    verdict = result.out.splitlines()[-1]
    assert verdict.startswith(f"not ready: {len(errors)} error" if fault.code else "ready, with 1 warning")
    if fault.code:
        trained = command("fit", "--config", "gnn", *SMALL_FILES, *fault.words)
        assert trained.code == fault.code
        assert not (tmp_path / "logs").exists() or not list((tmp_path / "logs").iterdir())
        said = next(line for line in trained.err.splitlines() if line.startswith("error: "))
        assert not fault.alike or said.removeprefix("error: ").split(";")[0] in " ".join(errors)


def test_all_faults_are_listed_at_once(command: Command, tmp_path: Path) -> None:
    def change(tables: Tables) -> Tables:
        for each in (
            put("jets", "pt", np.nan),
            put("tracks", "z0", np.inf, slice(9, 12)),
            put("jets", "flavour_label", 7),
        ):
            tables = each(tables)
        return tables

    make_folder(tmp_path, Fault("", (), change=change, more=put_in_val("tracks", "dphi", np.nan)))
    words = [
        "--data.batch_size=abc",
        "--trainer.precision=17",
        "--model.tasks.origin.class_path=Classification",
        "--model.tasks.origin.input=tracks",
        "--model.tasks.origin.label=ftagTruthOriginLabl",
        "--model.tasks.origin.weigth=0.5",
        "--data.inputs.tracks.variables=[d0,z0,dphi,dphii]",
        "--data.num_workers=999",
        "--data.test_file=tset.h5",
        "--model.embed_dimm=5",
    ]
    result = command("check", "--config", "gnn", *SMALL_FILES, *words)
    errors = findings(result.out, "error")
    culprits = [
        "data.batch_size",
        "trainer.precision",
        "weigth",
        "ftagTruthOriginLabl",
        "train.h5: input 'tracks': unknown variable 'dphii'",
        "val.h5: input 'tracks': unknown variable 'dphii'",
        "model.embed_dimm",
        "'pt' of input 'jets' is nan in row 5",
        "'z0' of input 'tracks' is inf in row",
        "'flavour_label' of input 'jets' is 7 in row 5",
        "'dphi' of input 'tracks' is nan in row 7",
    ]
    for culprit in culprits:
        assert any(culprit in error for error in errors), f"{culprit} is not in\n{result.out}"
    assert result.code == 2
    warnings = findings(result.out, "warning")
    assert any("999" in warning for warning in warnings)
    assert any("tset.h5" in warning for warning in warnings)


@pytest.mark.parametrize("name", zoo())
def test_shipped_configs_pass(name: str, command: Command, tmp_path: Path) -> None:
    result = command("check", "--config", name, *SMALL)
    assert result.code == 0, result.out
    assert not findings(result.out, "error")
    assert result.out.splitlines()[-1].startswith("ready")
    assert "an epoch of 4 steps takes about" in result.out
    assert not list(tmp_path.iterdir())


def test_too_little_space_to_stage(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, Fault("", ()))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    words = ("--data.move_files_temp=fast", "--data.stage=packed")
    result = command("check", "--config", "gnn", *SMALL_FILES, *words)
    assert result.code == 1
    first, second = findings(result.out, "error")
    assert "default_root_dir: logs has 1 kB free" in first + second
    assert "data.move_files_temp" in first + second
    assert "has 1 kB free, but the jets in use need" in first + second
    optional = command("check", "--config", "gnn", *SMALL_FILES, *words, "--data.stage_optional=true")
    assert len(findings(optional.out, "error")) == 1
    assert not (tmp_path / "fast").exists()


def test_a_run_that_is_gone_on_with(command: Command, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "logs" / run_folder.name)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    words = ("--run.run_id", run_folder.name)
    assert "finished epochs" in command("check", *words).out
    result = command("check", *words, "--trainer.max_epochs=3")
    assert result.code == 0, result.out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
