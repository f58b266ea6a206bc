"""A training that is resumed does what it would have done, with the user's new values."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import SMALL, Command

from salt.training import Tagger

FIT = ("fit", "--config", "simple", *SMALL, "--trainer.max_epochs=2")
Steps = list[tuple[int, list[int]]]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Grows by the epoch and the rows of each step that is trained."""
    seen: Steps = []
    step = Tagger.training_step

    def recorded(self: Tagger, batch: Any, batch_idx: int) -> torch.Tensor:
        seen.append((self.current_epoch, batch.rows.tolist()))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Tagger, "training_step", recorded)
    return seen


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_goes_on_where_it_was_left(workers: int, command: Command, steps: Steps, tmp_path: Path) -> None:
    words = (*FIT, "--trainer.val_check_interval=3", f"--data.num_workers={workers}")
    keep_all = "--trainer.callbacks.Checkpoint.init_args.save_top_k=-1"
    assert command(*words, keep_all, "--trainer.default_root_dir=whole").code == 0
    whole = steps.copy()
    (last,) = tmp_path.glob("whole/*/ckpts/last.ckpt")
    states = {torch.load(p, weights_only=True)["global_step"]: p for p in last.parent.glob("epoch*.ckpt")}
    assert sorted(states) == [3, 7]
    for done, path in states.items():
        steps.clear()
        ended = command(*words, "--ckpt_path", str(path), f"--trainer.default_root_dir=from{done}")
        assert ended.code == 0
        assert "not resumable" not in ended.err
        assert steps == whole[done:]


def test_what_a_resumed_training_takes_from_the_user_and_what_it_keeps(
    run_folder: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume = (*FIT, "--trainer.max_epochs=3", "--ckpt_path", str(run_folder / "ckpts" / "last.ckpt"))
    as_before = command(*resume, "--trainer.default_root_dir=before")
    assert "keeps" not in as_before.err
    ended = command(
        *resume,
        "--trainer.default_root_dir=after",
        "--model.lrs_config.weight_decay=0.5",
        "--model.tasks.jets_classification.class_weights=[1, 2, 3]",
    )
    assert ended.code == 0
    assert "keeps the normalisation and class weights" in ended.err
    assert "tasks.jets_classification.class_weight" in ended.err
    (last,) = tmp_path.glob("after/*/ckpts/last.ckpt")
    groups = torch.load(last, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert yaml.safe_load((last.parents[1] / "config.yaml").read_text())["model"]["lrs_config"]["weight_decay"] == 0.5
