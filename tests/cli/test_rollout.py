"""The recipe: pre-training, growing rollouts in the same run, a tagger of its weights."""

import re
import shutil
from pathlib import Path

import killed
import pytest
import torch
from conftest import SMALL, Command
from logged import repeatable

WORDS = (*SMALL, "--data.num_train=400", "--data.num_val=100", "--data.batch_size=50", "--model.embed_dim=16")
GROWING = ("--config=rollout", "--trainer.max_epochs=6", "--trainer.limit_train_batches=4")


def steps_in(text: str) -> list[tuple[int, int]]:
    """The epochs at which the number of steps was another one, and the numbers."""
    return [
        (int(e), int(k)) for e, k in re.findall(r"epoch (\d+): next_constituent is rolled out for (\d+) step", text)
    ]


def only(folder: Path) -> Path:
    (found,) = folder.glob("logs/*")
    return found


@pytest.fixture
def pretrained(command: Command, tmp_path: Path) -> Path:
    """The folder of a run of two epochs."""
    result = command("fit", "--config=pretrain", *WORDS, "--trainer.max_epochs=2")
    assert result.code == 0, result.err
    assert steps_in(result.err) == [(0, 1)]
    return only(tmp_path)


@pytest.mark.slow
def test_the_number_of_steps_goes_on_growing_after_a_kill(
    pretrained: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "tell.py").write_text(killed.TELL)
    (tmp_path / "tell.yaml").write_text(
        "trainer: {callbacks: {Checkpoint: {every_n_steps: 2}, Tell: {class_path: tell.Tell}}}"
    )
    words = [f"--run.run_id={pretrained.name}", *GROWING, "--config=tell.yaml"]
    whole = tmp_path_factory.mktemp("whole")
    shutil.copytree(tmp_path, whole, dirs_exist_ok=True)
    assert killed.finish(whole, words)
    assert not killed.finish(tmp_path, words, killed.Kill("step", 11, 0))
    again = killed.start(tmp_path, [f"--run.run_id={pretrained.name}"])
    said = again.communicate(timeout=600)[1]
    assert again.returncode == 0, said
    assert steps_in(said) == [(4, 3), (5, 4)]
    assert killed.differences(killed.final_state(tmp_path), killed.final_state(whole)) == []
    assert repeatable(only(tmp_path) / "metrics.csv") == repeatable(only(whole) / "metrics.csv")


def test_a_tagger_begins_with_the_weights(pretrained: Path, command: Command) -> None:
    result = command("fit", f"--run.run_id={pretrained.name}", *GROWING, "--trainer.max_epochs=4")
    assert result.code == 0, result.err
    assert steps_in(result.err) == [(2, 1), (3, 2)]
    nowhere = command("fit", "--config=pretrain", "--config=finetune", *WORDS)
    assert nowhere.code == 2
    assert "give --run.warm_start.checkpoint" in nowhere.err
    result = command(
        "fit",
        "--config=pretrain",
        "--config=finetune",
        *WORDS,
        f"--run.warm_start.checkpoint={pretrained}/ckpts/last.ckpt",
        "--trainer.max_epochs=1",
        "--model.lrs_config={class_path: Constant, value: 0}",
    )
    assert result.code == 0, result.err
    run = next(folder for folder in Path("logs").iterdir() if folder.name.startswith("finetune"))
    theirs, ours = (
        torch.load(folder / "ckpts" / "last.ckpt", weights_only=True)["state_dict"] for folder in (pretrained, run)
    )
    shared = [key for key in ours if not key.startswith("model.tasks")]
    assert shared
    assert all(torch.equal(ours[key], theirs[key]) for key in shared)
    assert {key.split(".")[2] for key in ours if key.startswith("model.tasks")} == {
        "jets_classification",
        "track_origin",
    }
