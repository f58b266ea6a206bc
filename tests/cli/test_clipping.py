"""Gradients are clipped as asked, also where a step is accumulated, cut into parts or in half precision."""

from pathlib import Path

import pytest
import torch
from conftest import SMALL, Command
from recorded import recorded, write_record

RATE, CLIP = 0.5, 0.01
FIT = ("fit", "--config", "simple", *SMALL, "--trainer.max_steps=1", f"--trainer.gradient_clip_val={CLIP}")
PLAIN = (f"--model.lrs_config={{class_path: Constant, value: {RATE}, weight_decay: 0}}", "--model.optimizer=SGD")
PARTS = ("--data.constituents_per_step=300", "--trainer.accumulate_grad_batches=2")


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (("--trainer.gradient_clip_algorithm=norm", *PARTS), 2.0),
        (("--trainer.gradient_clip_algorithm=value", *PARTS), float("inf")),
        (("--trainer.precision=bf16-mixed",), 2.0),
    ],
)
def test_a_step_is_as_long_as_the_limit(words: tuple[str, ...], order: float, command: Command, tmp_path: Path) -> None:
    record, _ = write_record(tmp_path)
    ended = command(*FIT, *PLAIN, record, *words)
    assert ended.code == 0, ended.err
    before, after = recorded(tmp_path, 0), recorded(tmp_path, 1)
    step = torch.cat([(after[name] - before[name]).flatten() for name in before])
    assert float(torch.linalg.vector_norm(step, order)) == pytest.approx(RATE * CLIP, rel=1e-4)


def test_an_algorithm_without_a_limit_is_refused(command: Command) -> None:
    words = (*FIT[:-1], "--trainer.gradient_clip_algorithm=value", "--trainer.fast_dev_run=1")
    assert "does nothing without trainer.gradient_clip_val" in command(*words).err
