"""The line that is printed after each epoch."""

import csv
import re
from pathlib import Path

import pytest
from cli_case import SMALL_FILES
from conftest import SMALL, Command
from files import make_jets, write_structured


def test_the_training_loss_is_that_of_the_whole_epoch(command: Command, tmp_path: Path) -> None:
    """Where nothing is learnt and the same jets validate, both losses are one; the last step of two jets is not."""
    for i, name in enumerate(("train", "val")):
        write_structured(tmp_path / f"{name}.h5", make_jets(102, first_event=1000 * i))
    still = [f"--model.lrs_config.{key}=0" for key in ("initial", "max", "end", "weight_decay")]
    ended = command("fit", "--config", "simple", *SMALL_FILES, *still)
    assert ended.code == 0, ended.err
    losses = re.findall(r"epoch 1/1, train/loss ([\d.]+), val/loss ([\d.]+)", ended.err)
    train, val = (float(loss) for loss in losses[0])
    assert train == pytest.approx(val, abs=2e-4)


def test_the_best_of_several_validations_in_an_epoch(command: Command, tmp_path: Path) -> None:
    """Where a large loss counts as good, training makes it worse, and the first validation is the best."""
    words = ("--model.lrs_config=Constant", "--model.lrs_config.value=1e-3", "--trainer.max_epochs=2")
    words += ("--trainer.callbacks.Checkpoint.mode=max", "--trainer.val_check_interval=2")
    ended = command("fit", "--config", "simple", *SMALL, *words)
    assert ended.code == 0, ended.err
    lines = [line for line in ended.err.splitlines() if line.startswith("epoch ")]
    with next(tmp_path.glob("logs/*/metrics.csv")).open() as file:
        values = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]
    assert len(values) == 4
    best, last = max(values), values[1]
    assert best == values[0] != last
    assert f"val/loss {last:.4f}" in lines[0]
    assert f"best val/loss so far: {best:.4g} inside this epoch, saved as epoch000-val_loss{best:.5f}.ckpt" in lines[0]
    assert f"best val/loss {best:.4g} in epoch 1" in lines[1]


def test_a_validation_that_is_not_the_end_of_its_epoch(command: Command) -> None:
    ended = command("fit", "--config", "simple", *SMALL, "--trainer.max_epochs=2", "--trainer.val_check_interval=3")
    assert ended.code == 0, ended.err
    for number, step in enumerate((3, 7), 1):
        assert re.search(rf"epoch {number}/2, train/loss [\d.]+, val/loss [\d.]+ after step {step}; ", ended.err)
