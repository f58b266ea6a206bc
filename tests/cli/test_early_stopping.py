"""The end of a training that learns nothing more, and the best model under its name."""

from pathlib import Path

import torch
from conftest import SMALL, Command

FIT = ("fit", "--config", "simple", *SMALL, "--trainer.max_epochs=6")


def test_the_best_model_has_the_name_of_the_model(run_folder: Path) -> None:
    named = run_folder / "simple.ckpt"
    state = next(
        state
        for state in torch.load(run_folder / "ckpts" / "last.ckpt", weights_only=True)["callbacks"].values()
        if state.get("best_model_path")
    )
    assert named.read_bytes() == (run_folder / "ckpts" / Path(state["best_model_path"]).name).read_bytes()
    named.resolve().relative_to(run_folder.resolve())


def test_patience_and_margin_are_those_of_the_present_config(command: Command, tmp_path: Path) -> None:
    stopping = "--trainer.callbacks.EarlyStopping={patience: 1, min_delta: 10}"
    ended = command(*FIT, stopping)
    assert ended.code == 0, ended.err
    assert "stopped early after epoch 2: val/loss was not better than" in ended.err
    (run,) = (tmp_path / "logs").iterdir()
    go_on = ("fit", f"--run.run_id={run.name}")
    again = command(*go_on)
    assert (again.code, "the run has stopped early" in again.err) == (2, True)
    more = command(*go_on, "--trainer.callbacks.EarlyStopping.patience=3")
    assert more.code == 0, more.err
    assert "stopped early after epoch 4" in more.err
    further = command(*go_on, "--trainer.callbacks.EarlyStopping={min_delta: 0, patience: 30}")
    assert further.code == 0, further.err
    assert "stopped early" not in further.err
    assert torch.load(run / "ckpts" / "last.ckpt", weights_only=True)["epoch"] == 5


def test_what_is_monitored_must_exist(command: Command) -> None:
    ended = command(*FIT, "--trainer.callbacks.EarlyStopping.monitor=val/lss")
    assert ended.code == 2
    assert "unknown metric 'val/lss' in trainer.callbacks.EarlyStopping.monitor; nearest: val/loss" in ended.err
    ended = command(*FIT, "--trainer.callbacks.EarlyStopping={}", "--data.val_file=null")
    assert (ended.code, "no data.val_file" in ended.err) == (2, True)
