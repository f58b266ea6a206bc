"""Weights with the number of epochs that they have behind them."""

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import SMALL, Command

SGD = (
    "--model.optimizer=torch.optim.SGD",
    "--model.lrs_config.min_momentum=null",
    "--model.lrs_config.max_momentum=null",
)
"""An optimiser that remembers nothing, so that weights are a full state."""

FIT = ("fit", "-m", "simple", *SMALL, *SGD, "--trainer.callbacks.Checkpoint.save_top_k=-1")


def newest(*older: Path) -> Path:
    (found,) = set(Path("logs").iterdir()) - set(older)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(folder / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]
    return loaded


def losses(folder: Path) -> list[str]:
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    wanted = [rows[0].index(name) for name in ("epoch", "step", "val/loss", "train/learning_rate")]
    return [",".join(row[k] for k in wanted) for row in rows[1:] if row[wanted[2]] or row[wanted[3]]]


def test_weights_and_their_epoch_are_a_full_state_where_nothing_else_is_remembered(command: Command) -> None:
    whole = command(*FIT, "-n", "3")
    assert whole.code == 0, whole.err
    first = newest()
    after_one = next(first.glob("ckpts/epoch000*"))
    again = command(*FIT, "-n", "3", "-l", str(after_one), "-e", "1")
    assert again.code == 0, again.err
    assert "epoch 2 and step 5 are the first ones" in again.err
    second = newest(first)
    assert losses(second) == [row for row in losses(first) if int(row.split(",")[1]) >= 4]
    ours, theirs = weights(second), weights(first)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert yaml.safe_load((second / "config.yaml").read_text())["run"]["warm_start"]["epoch"] == 1
    assert re.search(r'"from_step": 4,\s+"to_step": 12', (second / "lineage.json").read_text())

    plain = command(*FIT, "-n", "3", "-l", str(after_one))
    assert plain.code == 0, plain.err
    assert any(
        not torch.equal(a, b) for a, b in zip(weights(newest(first, second)).values(), ours.values(), strict=True)
    )

    repeated = command("fit", "--config", str(second / "config.yaml"), "--run.warm_start.freeze_epochs=1")
    assert "stay as they are until epoch 2 ends" in repeated.err
    assert repeated.err.count("all parameters are trained from now on") == 1


def test_a_full_state_knows_its_epoch(command: Command, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "logs" / "parent")
    last = str(tmp_path / "logs" / "parent" / "ckpts" / "last.ckpt")
    config = str(run_folder / "config.yaml")
    starts = (
        ("--config", config, "-k", last),
        ("--run.run_id=parent",),
        ("--run.fork_run_id=parent",),
        ("--config", config, "-l", "parent", "--run.warm_start.weights_only=false"),
    )
    for words in starts:
        wrong = command("fit", *words, "-e", "1", "-n", "3")
        assert wrong.code == 2
        assert "run.warm_start.epoch, is 1, but" in wrong.err
        assert "last.ckpt has 2 finished epochs" in wrong.err
        right = command("fit", *words, "-e", "2", "-n", "3", "--trainer.fast_dev_run=1")
        assert right.code == 0, right.err
    assert len(list(Path("logs").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-e", "1"), "a new training has no epochs behind it; name weights with -l"),
        (("-l", "parent", "-e", "-2"), "'-2'; it is the number of epochs that are finished"),
        (("-l", "parent", "-e", "x"), "'x'; it is the number of epochs that are finished"),
        (("-l", "parent", "-e", "3", "-n", "3"), "nothing is left to train"),
    ],
)
def test_epochs_that_do_not_go(
    words: tuple[str, ...], message: str, command: Command, run_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_folder, tmp_path / "logs" / "parent")
    result = command("fit", "-m", "simple", *SMALL, *words)
    assert result.code == 2
    assert message in result.err
    assert len(list(Path("logs").iterdir())) == 1
