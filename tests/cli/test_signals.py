"""Signals in the midst of a training: it ends between two batches, and goes on as if nothing had been."""

import itertools
import os
import re
import select
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMALL, Command
from killed import differences
from logged import repeatable

from salt.cli.signals import Signals, Stopped, Wish
from salt.training import Tagger

FIT = (
    "fit",
    "--config=gnn",
    *SMALL,
    "--model.embed_dim=16",
    "--model.encoder.num_layers=1",
    "--data.batch_size=100",
    "--data.num_train=500",
    "--data.num_val=200",
    "--trainer.max_epochs=2",
)
"""Two epochs of five steps, with dropout, and two batches of validation after each."""

KEYS = ("global_step", "state_dict", "optimizer_states", "loops", "random_states")


def final_state(root: Path) -> dict[str, Any]:
    (last,) = root.glob("*/ckpts/last.ckpt")
    assert [p.name for p in last.parent.glob(".*")] == []
    found = torch.load(last, weights_only=True)
    return {key: found[key] for key in KEYS}


def metrics(root: Path) -> list[dict[str, str]]:
    (path,) = root.glob("*/metrics.csv")
    return repeatable(path)


def send_at(patch: pytest.MonkeyPatch, step: str, number: int, sent: signal.Signals) -> None:
    """Sends a signal to this process during a step of the training or of a validation."""
    counter = itertools.count(1)
    original = getattr(Tagger, step)

    def sending(self: Tagger, *args: Any) -> Any:
        if not self.trainer.sanity_checking and next(counter) == number:
            signal.raise_signal(sent)
        return original(self, *args)

    patch.setattr(Tagger, step, sending)


CASES = {
    "in the first step": ("training_step", 1, ()),
    "in the last step of an epoch": ("training_step", 5, ()),
    "in the second epoch": ("training_step", 7, ()),
    "in a validation": ("validation_step", 1, ()),
    "in the last batch of a validation": ("validation_step", 2, ()),
    "before a validation inside an epoch": ("training_step", 4, ("--trainer.val_check_interval=2",)),
    "in a validation inside an epoch": ("validation_step", 3, ("--trainer.val_check_interval=2",)),
    "after an epoch without validation": ("training_step", 5, ("--trainer.check_val_every_n_epoch=2",)),
    "where steps are counted": ("training_step", 7, ("--trainer.max_steps=9",)),
    "after an epoch where steps are counted": ("training_step", 5, ("--trainer.max_steps=9",)),
    "where batches are accumulated": ("training_step", 2, ("--trainer.accumulate_grad_batches=2",)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_training_that_was_ended_goes_on_to_the_last_bit(case: str, command: Command, tmp_path: Path) -> None:
    step, number, words = CASES[case]
    whole = command(*FIT, *words, "--trainer.default_root_dir=whole")
    assert whole.code == 0
    with pytest.MonkeyPatch.context() as patch:
        send_at(patch, step, number, signal.SIGTERM)
        ended = command(*FIT, *words)
    assert ended.code == 143
    assert "to continue: main fit --run.run_id" in ended.err
    (run,) = (tmp_path / "logs").iterdir()
    resumed = command("fit", f"--run.run_id={run.name}")
    assert resumed.code == 0, resumed.err
    assert differences(final_state(tmp_path / "logs"), final_state(tmp_path / "whole")) == []
    assert metrics(tmp_path / "logs") == metrics(tmp_path / "whole")
    assert last_loss(resumed.err) == last_loss(whole.err)


def last_loss(said: str) -> str:
    """The loss over all steps of the last epoch, as it is printed."""
    return re.findall(r"^epoch \d/2, train/loss [\d.]+", said, re.M)[-1]


def test_sigusr1_saves_and_the_training_goes_on(command: Command, tmp_path: Path) -> None:
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        send_at(patch, "training_step", 2, signal.SIGUSR1)
        step = Tagger.training_step

        def looking(self: Tagger, batch: Any, batch_idx: int) -> Any:
            seen.append(
                [torch.load(p, weights_only=True)["global_step"] for p in tmp_path.glob("logs/*/ckpts/last.ckpt")]
            )
            return step(self, batch, batch_idx)

        patch.setattr(Tagger, "training_step", looking)
        assert command(*FIT, "--trainer.max_epochs=1").code == 0
    assert seen == [[], [], [2], [2], [2]]


def test_sigusr1_in_a_batch_job_lets_slurm_start_it_again(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "scontrol").write_text('#!/bin/sh\necho "$@" > "$REQUEUED"\n')
    (bin_folder / "scontrol").chmod(0o755)
    for name, value in {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "REQUEUED": str(tmp_path / "said"),
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NAME": "train",
        "SLURM_ARRAY_JOB_ID": "11",
        "SLURM_ARRAY_TASK_ID": "3",
    }.items():
        monkeypatch.setenv(name, value)
    send_at(monkeypatch, "training_step", 3, signal.SIGUSR1)
    ended = command(*FIT)
    assert ended.code == 0
    assert "back in the queue" in ended.err
    assert (tmp_path / "said").read_text() == "requeue 11_3\n"
    assert final_state(tmp_path / "logs")["global_step"] == 3
    assert '"requeued"' in next(tmp_path.glob("logs/*/lineage.json")).read_text()


def test_where_slurm_cannot_start_it_again_the_training_goes_on(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("PATH", str(tmp_path))
    send_at(monkeypatch, "training_step", 3, signal.SIGUSR1)
    ended = command(*FIT)
    assert ended.code == 0
    assert "cannot be put back into the queue" in ended.err
    assert final_state(tmp_path / "logs")["global_step"] == 10


def test_ctrl_c_before_the_first_step_leaves_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("salt.data.datamodule.JetDataModule.setup", interrupted)
    ended = command(*FIT)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert list((tmp_path / "logs").iterdir()) == []


def test_only_the_strongest_wish_counts_and_a_second_ctrl_c_does_not_wait() -> None:
    with Signals() as signals:
        signals.patient = True
        signal.raise_signal(signal.SIGUSR1)
        assert signals.wish is Wish.SAVE_FOR_LATER
        signals.granted(Wish.SAVE_FOR_LATER)
        assert signals.wish is Wish.NOTHING
        for sent in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM):
            signal.raise_signal(sent)
        assert signals.wish is Wish.TERMINATE
        with pytest.raises(Stopped) as stopped:
            signal.raise_signal(signal.SIGINT)
    assert stopped.value.code == 130


def test_a_process_that_is_forked_leaves_signals_to_its_parent() -> None:
    with Signals() as signals:
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(int(signals.wish))
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert signals.wish is Wish.NOTHING


def test_the_end_of_watching_writes_into_no_file_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    with Signals() as signals:
        signals.patient = True
        signal.raise_signal(signal.SIGUSR1)
        guard: Any = signals._guard
        thread = [t for t in threading.enumerate() if t.name == "second-signal"][-1]
        closed = guard._closed.set

        def slowly() -> None:
            closed()
            thread.join()
            opened.extend(os.pipe())

        monkeypatch.setattr(guard._closed, "set", slowly)
    read, written = opened
    assert select.select([read], [], [], 0)[0] == []
    os.close(read)
    os.close(written)
