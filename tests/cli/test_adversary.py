"""Trainings against an adversary by the command line: the balance, its end, resuming, and all that follows."""

import csv
import json
from math import isnan, log
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from cli_case import SMALL_FILES
from conftest import Command
from files import make_jets, with_field, write_structured

import salt.adversarial
from salt.adversarial import AdversarialTagger
from salt.commands.saved_model import load_model
from salt.training import Tagger

OFF = ("--model.tasks.track_origin=null", "--model.tasks.track_vertexing=null")
SMALL = (*(word for word in SMALL_FILES if word not in OFF), "--data.batch_size=200")
FIT = ("fit", "--config", "adversary", *SMALL)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Jets whose flavour depends on pt, so that the scores of any flavour say something of pt."""
    for part, number in (("train", 2000), ("val", 600), ("test", 200)):
        tables = make_jets(number, seed=len(part))
        rng = np.random.default_rng(number)
        chance = (tables["jets"]["pt"] - 20) / 180
        tables["jets"]["flavour_label"] = np.where(rng.random(number) < chance, 0, rng.integers(1, 3, number))
        tables["jets"] = with_field(tables["jets"], "mass", 0.1 * tables["jets"]["pt"])
        write_structured(tmp_path / f"{part}.h5", tables, chunk=100)
    return tmp_path


def metrics(run: Path) -> list[dict[str, float]]:
    """What was logged of each validation."""
    with (run / "metrics.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return [row for row in rows if "val/loss" in row]


def run_of(folder: Path) -> Path:
    (run,) = (folder / "logs").iterdir()
    return run


@pytest.mark.parametrize(
    "mode", ["alternate", *(pytest.param(m, marks=pytest.mark.slow) for m in ("reversal", "distance_correlation"))]
)
def test_what_can_be_read_becomes_less(mode: str, command: Command, files: Path) -> None:
    words = ("--data.batch_size=100", f"--model.adversary.mode={mode}", "--trainer.max_epochs=8", "-A", "0.1")
    ended = command(*FIT, *words)
    assert ended.code == 0, ended.err
    assert f"against an adversary ({mode}, alpha 0.1): 10 bins of pt of cjets, ujets" in ended.err
    found = metrics(run_of(files))
    warmed, last = found[1], found[-1]
    assert warmed["val/adversary/balance"] == 0
    assert warmed["val/adversary/readable"] > 0.05
    assert last["val/adversary/balance"] > 0.5
    assert last["val/adversary/jsd"] < warmed["val/adversary/jsd"]
    key = "distance_correlation" if mode == "distance_correlation" else "loss"
    sign = 1 if mode == "distance_correlation" else -1
    for row in found:
        assert row["val/loss"] == pytest.approx(
            0.1 * row["val/jets_classification/loss"] + sign * 0.9 * row[f"val/adversary/{key}"], rel=1e-5
        )


def test_scoring_and_loading_a_run(command: Command, files: Path) -> None:
    """Its weights are those of a plain tagger, and a test measures what is left to read."""
    assert command(*FIT, "-G", "mass", "--trainer.max_epochs=2").code == 0
    run = run_of(files)
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["adversary"]["nuisance"] == "mass"
    scored = ("--config", str(run / "config.yaml"), "--data.test_file=test.h5")
    ended = command("test", *scored)
    assert ended.code == 0, ended.err
    (measured,) = run.glob("ckpts/*__test_test.json")
    values = {k: v["value"] for k, v in json.loads(measured.read_text())["metrics"].items()}
    assert {"test/adversary/jsd", "test/adversary/balance", "test/adversary/rejection"} <= values.keys()
    with h5py.File(measured.with_suffix(".h5")) as file:
        assert {"adversary_pb", "adversary_pc", "adversary_pu"} <= set(file["jets"].dtype.names)
    assert command("predict", *scored, "--overwrite").code == 0
    saved = load_model(run.name, files / "logs")
    assert type(saved.tagger) is Tagger
    without = make_jets(300, seed=9)
    write_structured(files / "without.h5", without)
    ended = command("test", "--config", str(run / "config.yaml"), "--data.test_file=without.h5")
    assert ended.code == 0, ended.err
    (measured,) = run.glob("ckpts/*__test_without.json")
    values = {k: v["value"] for k, v in json.loads(measured.read_text())["metrics"].items()}
    assert values["test/jets_classification/loss"] > 0
    assert values["test/loss"] is None
    assert "test/adversary/jsd" not in values


def test_a_file_without_the_nuisance(command: Command, files: Path) -> None:
    ended = command("fit", "--config", "simple", *SMALL, "-A", "0.3")
    assert (
        "model.adversary.alpha: there is no adversary without model.adversary.nuisance; name a variable with -G"
        in ended.err
    )
    ended = command(*FIT, "-G", "Lxyz")
    assert ended.code == 1
    assert "unknown nuisance 'Lxyz' in dataset 'jets'; nearest: Lxy" in ended.err
    ended = command(*FIT, "-G", "Lxy")
    assert (ended.code, "nuisance 'Lxy' of input 'jets' is nan in row" in ended.err) == (1, True)


def test_a_resumed_training_is_the_same_bit_for_bit(command: Command, files: Path) -> None:
    """From the middle of an epoch after the warm-up, clipped and accumulated."""
    words = (*FIT, "--model.adversary.warmup_epochs=1", "--trainer.max_epochs=3", "--trainer.val_check_interval=6")
    words += ("--trainer.gradient_clip_val=0.5", "--trainer.accumulate_grad_batches=2")
    keep_all = "--trainer.callbacks.Checkpoint.init_args.save_top_k=-1"
    assert command(*words, keep_all, "--trainer.default_root_dir=whole").code == 0
    (last,) = files.glob("whole/*/ckpts/last.ckpt")
    whole = torch.load(last, weights_only=True)
    assert whole["global_step"] == 15
    states = {torch.load(p, weights_only=True)["global_step"]: p for p in last.parent.glob("epoch*.ckpt")}
    assert sorted(states) == [3, 8, 13]
    ended = command(*words, "--ckpt_path", str(states[8]), "--trainer.default_root_dir=more")
    assert ended.code == 0, ended.err
    (again,) = files.glob("more/*/ckpts/last.ckpt")
    resumed = torch.load(again, weights_only=True)
    for key in ("state_dict", "optimizer_states", "global_step"):
        assert_same(resumed[key], whole[key])
    assert resumed["salt"]["adversary"]["opponent"]["optimizer"]["state"][0]["step"] == 75
    assert_same(resumed["salt"]["adversary"], whole["salt"]["adversary"])


def assert_same(found: Any, expected: Any) -> None:
    """Equal, bit for bit."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


def test_the_exit_fires_on_a_scripted_balance(command: Command, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the second of two in a row within the tolerance, and not before."""
    script = iter([float("nan"), 0.0, 0.86, 0.5, 0.9, 0.84, 0.95, 0.99])
    monkeypatch.setattr(salt.adversarial, "balance", lambda readable, warmed: next(script))
    words = (*FIT, "-B", "0.9", "-T", "0.05", "--model.adversary.patience=2", "--trainer.max_epochs=9")
    ended = command(*words, "--trainer.num_sanity_val_steps=0")
    assert ended.code == 0, ended.err
    assert "stopped early after epoch 8: val/adversary/balance was at least 0.85 in 2 validations in a row" in ended.err
    again = command("fit", f"--run.run_id={run_of(files).name}")
    assert again.code == 2
    assert "give more with --model.adversary.patience" in again.err


def test_a_dead_adversary_ends_nothing(command: Command, files: Path) -> None:
    """It reads nothing, as if all were decorrelated; the fresh network reads what it did after the warm-up."""
    words = ("-R", "1e12", "-A", "0.9", "-B", "0.8", "--model.adversary.patience=1", "--trainer.max_epochs=4")
    ended = command(*FIT, *words, "--data.batch_size=200", "--trainer.log_every_n_steps=1")
    assert ended.code == 0, ended.err
    assert "stopped early" not in ended.err
    last = metrics(run_of(files))[-1]
    assert last["train/adversary/loss"] == pytest.approx(log(10), rel=0.02)
    assert last["val/adversary/balance"] < 0.5
    assert last["val/adversary/readable"] > 0.05


SHORT = ("-G", "mass", "-R", "2", "-A", "0.3", "-B", "0.9", "-T", "0.1")


def test_short_forms(command: Command, files: Path) -> None:
    ended = command("fit", "--config", "simple", *SMALL, *SHORT, "--print_config")
    assert ended.code == 0, ended.err
    found = yaml.safe_load(ended.out)["model"]["adversary"]
    assert {k: found[k] for k in ("nuisance", "ratio", "alpha", "balance", "tolerance")} == {
        "nuisance": "mass",
        "ratio": 2,
        "alpha": 0.3,
        "balance": 0.9,
        "tolerance": 0.1,
    }
    ended = command("fit", "--config", "simple", *SMALL, "-A", "0.3", "--print_config")
    assert (ended.code, "nuisance" in ended.err) == (2, True)
    ended = command(*FIT, "--model.adversary.alfa=0.3", "--print_config")
    assert (ended.code, "alpha" in ended.err) == (2, True)


def test_a_plain_checkpoint_is_no_beginning_of_an_adversarial_training(command: Command, files: Path) -> None:
    assert command("fit", "--config", "simple", *SMALL).code == 0
    run = run_of(files)
    last = str(run / "ckpts" / "last.ckpt")
    ended = command(*FIT, "--trainer.max_epochs=2", "--ckpt_path", last, "--trainer.default_root_dir=more")
    assert (ended.code, "was trained without an adversary" in ended.err) == (2, True)
    ended = command(*FIT, "--trainer.max_epochs=2", "-l", last, "--trainer.default_root_dir=warm")
    assert ended.code == 0, ended.err
    assert not isnan(metrics(next((files / "warm").iterdir()))[-1]["val/adversary/readable"])


def test_the_class_of_the_model(command: Command, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an adversary it is a plain tagger."""
    seen: list[type] = []
    setup = Tagger.setup
    monkeypatch.setattr(Tagger, "setup", lambda self, stage: (seen.append(type(self)), setup(self, stage))[1])
    assert command("fit", "--config", "simple", *SMALL, "--trainer.fast_dev_run=1").code == 0
    assert command(*FIT, "--trainer.fast_dev_run=1").code == 0
    assert command(*FIT, "--trainer.fast_dev_run=1", "--model.adversary=null").code == 0
    assert seen == [Tagger, AdversarialTagger, Tagger]
