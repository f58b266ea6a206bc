"""What is not finite is found: the task, the jets and the module are named, and no checkpoint holds it."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from cli_case import SMALL_FILES
from conftest import SMALL, Command, Result
from files import make_jets, write_structured

import salt
from salt.callbacks import health

SAMPLE = Path(salt.__file__).parent / "sample"
SICK = '''\
import torch
from lightning.pytorch import Callback

class Swell(Callback):
    """Makes the weights of a head so large that its logits overflow."""

    def __init__(self, task: str, step: int = 3) -> None:
        self.task, self.step = task, step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.swell(trainer, pl_module, 1e20)

    def swell(self, trainer, pl_module, factor) -> None:
        if trainer.global_step == self.step:
            for weights in pl_module.tasks[self.task].parameters():
                weights.data *= factor

class SwellInValidation(Swell):
    def on_train_batch_start(self, *args) -> None: ...

    def on_validation_start(self, trainer, pl_module) -> None:
        self.swell(trainer, pl_module, 1e20)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.swell(trainer, pl_module, 1e-20)

class Root(torch.autograd.Function):
    """Finite, with a derivative that is not, for values of one jet."""

    @staticmethod
    def forward(ctx, x, bad):
        ctx.bad = bad
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.where(ctx.bad, float("inf"), gradient), None

class Steep(Callback):
    """Puts a module behind the pooling whose gradient is infinite for the jet with the largest pt."""

    def on_fit_start(self, trainer, pl_module) -> None:
        pooling = pl_module.model.pooling
        class Steepened(type(pooling)):
            def forward(inner, x):
                return Root.apply(super().forward(x), x.host_counts[:, None] == 7)
        pooling.__class__ = Steepened
'''


def swell(task: str = "jets_classification", kind: str = "Swell", **arguments: Any) -> list[str]:
    Path("sick.py").write_text(SICK)
    options = ", ".join(f"{key}: {value}" for key, value in {"task": task, **arguments}.items())
    return ["--trainer.callbacks.Sick", f"{{class_path: sick.{kind}, init_args: {{{options}}}}}"]


def said(result: Result) -> list[str]:
    """The lines of the error."""
    assert result.code == 1, result.err
    assert "Traceback" not in result.err
    lines = result.err.splitlines()
    return lines[[line.startswith("error: ") for line in lines].index(True) :]


@pytest.mark.parametrize("lag", [0, 3])
def test_a_head_that_overflows_is_named_and_the_last_good_state_kept(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag: int
) -> None:
    """Also where the host hears of it steps later, as with a GPU."""
    monkeypatch.setattr(health, "lag_on", lambda device: lag)
    flags = [*SMALL, "--trainer.max_epochs=3", *swell("jets_classification", step=4)]
    lines = said(command("fit", "--config", "simple", *flags))
    assert len(lines) == 3
    head = "error: the loss of task 'jets_classification' is not finite in batch 1 of epoch 2 (step 5), by every jet"
    assert lines[0].startswith(f"{head}, such as rows ")
    assert lines[0].endswith("sample/train.h5")
    assert "comes from module tasks.jets_classification.head.jets" in lines[1]
    assert "--trainer.gradient_clip_val" in lines[2]
    assert "ckpts/last.ckpt is of before" in lines[2]
    (folder,) = (tmp_path / "logs").iterdir()
    for path in (folder / "ckpts").iterdir():
        saved = torch.load(path, weights_only=True)
        assert saved["global_step"] == 4
        assert all(bool(value.isfinite().all()) for value in saved["state_dict"].values())
    assert '"outcome": "failed"' in (folder / "lineage.json").read_text()


def apart(*words: str) -> Result:
    """A command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "salt", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_it_is_named_in_compiled_models_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (first, second, _) = said(apart("fit", "--config", "simple", *SMALL, "--compile", *swell()))
    assert "'jets_classification' is not finite in batch 4 of epoch 1 (step 4), by every jet" in first
    assert "comes from module tasks.jets_classification.head.jets" in second


def sick_files(folder: Path) -> list[str]:
    """Flags to train on two files, in the second of which a value of row 23 overflows when it is normalised."""
    write_structured(folder / "train_a.h5", make_jets(80))
    second = make_jets(80, seed=1, first_event=100)
    first_track = second["tracks"][23, 0]
    for name, value in {"valid": True, "d0": 3e38, "z0": 0, "dphi": 0, "ftagTruthOriginLabel": 1}.items():
        first_track[name] = value
    second["tracks"][23, 0] = first_track
    write_structured(folder / "train_b.h5", second)
    write_structured(folder / "val.h5", make_jets(80, seed=2, first_event=1000))
    scale = "{mean: 0, std: 1}"
    tracks = f"{{d0: {{mean: 0, std: 0.01}}, z0: {scale}, dphi: {scale}}}"
    (folder / "norms.yaml").write_text(f"jets: {{pt: {scale}, eta: {scale}}}\ntracks: {tracks}\n")
    return [*SMALL_FILES, "--data.train_file=train_*.h5", "--data.norm_dict=norms.yaml"]


def check_sick_jet(lines: list[str]) -> None:
    assert len(lines) == 3
    assert lines[0].endswith("by the jet in row 23 of train_b.h5")
    assert lines[1] == "tracks.d0 is not finite once it is normalised"
    assert "data.inputs.tracks.selection" in lines[2]


@pytest.mark.parametrize("flags", [["--data.batched_read=false"], ["--data.move_files_temp=fast"]])
def test_a_jet_that_overflows_when_normalised_is_named_with_its_file(
    command: Command, tmp_path: Path, flags: list[str]
) -> None:
    check_sick_jet(said(command("fit", "--config", "simple", *sick_files(tmp_path), *flags)))


def test_two_processes_end_with_one_message_whichever_has_the_jet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = apart("fit", "--config", "simple", *sick_files(tmp_path), "--trainer.devices=2")
    check_sick_jet(said(result))
    assert result.err.count("not finite in") == 1


@pytest.mark.parametrize("flags", [["--trainer.accumulate_grad_batches=2"], ["--trainer.precision=bf16-mixed"]])
def test_a_gradient_that_is_infinite_for_some_jets_is_named(command: Command, tmp_path: Path, flags: list[str]) -> None:
    Path("sick.py").write_text(SICK)
    write_structured(tmp_path / "train.h5", tables := make_jets(200))
    write_structured(tmp_path / "val.h5", make_jets(80, seed=2, first_event=1000))
    sick = "--trainer.callbacks.Sick={class_path: sick.Steep}"
    lines = said(command("fit", "--config", "simple", *SMALL_FILES, sick, *flags))
    assert lines[0].startswith("error: the gradient of the loss of task 'jets_classification' is not finite in batch 1")
    named = [int(row.strip(",")) for row in lines[0].partition("rows ")[2].split(" of ")[0].split()]
    assert len(named) == 4
    assert (tables["tracks"]["valid"][named].sum(1) == 7).all()
    assert lines[1] == "the first gradient that is not finite comes from module pooling (Steepened)"


def test_a_validation_loss_that_is_not_finite_is_said_and_the_training_goes_on(
    command: Command, tmp_path: Path
) -> None:
    flags = [*SMALL, "--trainer.max_epochs=2", *swell(kind="SwellInValidation", step=4)]
    result = command("fit", "--config", "simple", *flags)
    assert result.code == 0
    assert result.err.count("warning: the loss of task 'jets_classification' is not finite in the validation") == 1
    assert "sample/val.h5" in result.err
    assert "module tasks.jets_classification.head" in result.err
    assert "val/loss is not a number" in result.err
    assert "best val/loss so far, saved as epoch001" in result.err


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_task_without_targets_in_the_validation_file_is_left_out_of_its_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: int
) -> None:
    monkeypatch.chdir(tmp_path)
    write_structured(tmp_path / "train.h5", make_jets(200))
    tables = make_jets(80, seed=2, first_event=1000)
    tables["tracks"]["ftagTruthVertexIndex"] = -2
    write_structured(tmp_path / "val.h5", tables)
    flags = ["--data.inputs.tracks.variables=[z0,dphi]", "--data.train_file=train.h5", "--data.val_file=val.h5"]
    flags += ["--data.num_workers=0", "--data.batch_size=40", "--data.test_file=null", "--trainer.accelerator=cpu"]
    flags += ["--trainer.max_epochs=2", f"--trainer.devices={devices}", "--trainer.callbacks.EarlyStopping.patience=1"]
    result = apart("fit", "--config", "gnn", *flags)
    assert result.code == 0, result.err
    assert result.err.count("warning: no target of track_vertexing: left out of val/loss\n") == 1
    assert "not finite" not in result.err
    (folder,) = (tmp_path / "logs").iterdir()
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    assert len(rows) == 2
    for row in rows:
        assert np.isnan(float(row["val/track_vertexing/loss"]))
        parts = [float(row[f"val/{task}/weighted_loss"]) for task in ("jets_classification", "track_origin")]
        assert float(row["val/loss"]) == pytest.approx(sum(parts), rel=1e-6)


def test_the_norm_of_the_gradients_is_logged_when_values_are(command: Command, tmp_path: Path) -> None:
    every = "--trainer.callbacks.Health={class_path: Health, init_args: {module_norms: true}}"
    flags = [*SMALL, "--trainer.max_epochs=1", "--trainer.log_every_n_steps=2", "--trainer.gradient_clip_val=0.01"]
    assert command("fit", "--config", "simple", *flags, every).code == 0
    (folder,) = (tmp_path / "logs").iterdir()
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/grad_norm"]]
    assert [int(row["step"]) for row in rows] == [1, 3]
    for row in rows:
        parts = [float(value) for key, value in row.items() if key.startswith("train/grad_norm/")]
        assert len(parts) == 2
        assert float(row["train/grad_norm"]) == pytest.approx(np.linalg.norm(parts), rel=1e-5)
        assert float(row["train/grad_norm"]) > 0.01


@pytest.mark.parametrize("where", ["train", "val"])
def test_a_nan_in_one_row_of_one_file_is_named_where_the_survey_did_not_look(
    command: Command, tmp_path: Path, where: str
) -> None:
    """100 blocks of 1000 jets are looked at beforehand; row 1005 lies between the first two."""
    tables = make_jets(101_500, width=2, first_event=10_000)
    tables["tracks"]["valid"][1005, 0] = True
    for name in ("d0", "z0", "dphi"):
        tables["tracks"][name][1005, 0] = np.nan if name == "d0" else 0
    for part in ("train", "val"):
        write_structured(tmp_path / f"{part}.h5", tables if part == where else make_jets(80), chunk=100)
    flags = [*SMALL_FILES, "--data.batch_size=1000", "--data.num_workers=1", "--trainer.num_sanity_val_steps=0"]
    lines = said(command("fit", "--config", "simple", *flags))
    assert lines[0] == f"error: {where}.h5: variable 'd0' of input 'tracks' is nan in row 1005"
    assert len(lines) == 2


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_what_is_scored_is_looked_at_too(command: Command, run_folder: Path, tmp_path: Path, verb: str) -> None:
    part = "val" if verb == "validate" else "test"

    config = shutil.copytree(run_folder, tmp_path / "run") / "config.yaml"

    def scored(value: float, path: Path) -> Result:
        shutil.copy(SAMPLE / f"{part}.h5", path)
        with h5py.File(path, "a") as file:
            tracks = file["tracks"][7]
            tracks["valid"][0], tracks["d0"][0] = True, value
            file["tracks"][7] = tracks
        return command(verb, "--config", str(config), f"--data.{part}_file={path.name}")

    (first, _) = said(scored(np.inf, tmp_path / "one.h5"))
    assert first == "error: one.h5: variable 'd0' of input 'tracks' is inf in row 7"
    result = scored(3e38, tmp_path / "other.h5")
    assert result.code == 0
    if verb != "predict":
        name = "validation" if verb == "validate" else verb
        assert f"is not finite in the {name}, by the jet in row 7 of other.h5\n" in result.err
    spoilt = "warning: 1 jet has scores that are not finite, the first in row 7 of other.h5\n"
    assert (spoilt in result.err) == (verb != "validate")
