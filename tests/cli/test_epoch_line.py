"""The line that is printed after each epoch."""

import re
from pathlib import Path

import pytest
from cli_case import SMALL_FILES
from conftest import Command
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
