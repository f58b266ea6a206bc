"""The learning rate of each step of real trainings is that of the formula, whatever happens in between."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from math import cos, pi, sqrt
from pathlib import Path

import pytest
from conftest import SMALL, Command

STEPS = 4
"""Steps of an epoch: 800 jets in batches of 200."""

FIT = ("fit", "--config", "simple", *SMALL, "--trainer.log_every_n_steps=1", "--trainer.num_sanity_val_steps=0")
Formula = Callable[[int], float]


def rates(folder: Path) -> dict[int, float]:
    """By the number of steps that were taken before."""
    (path,) = folder.glob("logs/*/metrics.csv")
    with path.open(newline="") as file:
        found = {int(row["step"]): row["train/learning_rate"] for row in csv.DictReader(file)}
    return {step: float(text) for step, text in found.items() if text}


def half(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + cos(pi * share))


def one_cycle(total: int, most: float) -> Formula:
    top, last = 0.25 * total - 1, total - 1
    return lambda n: half(1e-4, most, n / top) if n <= top else half(most, 1e-5, (n - top) / (last - top))


def cosine(iterations: int, warmup: int, most: float, least: float) -> Formula:
    def rate(n: int) -> float:
        if n < warmup:
            return most * (n + 1) / (warmup + 1)
        return half(most, least, min(1.0, (n - warmup) / (iterations - 1 - warmup)))

    return rate


def constant(value: float, warmup: int) -> Formula:
    return lambda n: value * min(1.0, (n + 1) / (warmup + 1))


CYCLE = ("--model.lrs_config.pct_start=0.25",)
COSINE = ("--model.lrs_config=Cosine", "--model.lrs_config.warmup=3", "--model.lrs_config.max=0.002")
CONSTANT = ("--model.lrs_config=Constant", "--model.lrs_config.warmup=5")


@pytest.mark.parametrize(
    ("schedule", "changed", "before", "after", "jumps"),
    [
        (CYCLE, ("--model.lrs_config.max=1e-3",), one_cycle(8, 3e-3), one_cycle(16, 1e-3), True),
        (
            (*COSINE, "--model.lrs_config.iterations=6"),
            ("--model.lrs_config.min=1e-4", "--model.lrs_config.iterations=12"),
            cosine(6, 3, 0.002, 1e-6),
            cosine(12, 3, 0.002, 1e-4),
            True,
        ),
        ((*COSINE, "--model.lrs_config.iterations=6"), (), *(2 * (cosine(6, 3, 0.002, 1e-6),)), False),
        (CONSTANT, ("--model.lrs_config.value=1e-4",), constant(5e-4, 5), constant(1e-4, 5), True),
    ],
)
def test_each_step_has_the_rate_of_the_formula(
    schedule: tuple[str, ...],
    changed: tuple[str, ...],
    before: Formula,
    after: Formula,
    jumps: bool,
    command: Command,
    tmp_path: Path,
) -> None:
    first = command(*FIT, *schedule, "--trainer.max_epochs=2")
    assert first.code == 0, first.err
    assert "learning rate of AdamW: " in first.err
    (run,) = (tmp_path / "logs").iterdir()
    second = command("fit", f"--run.run_id={run.name}", *changed, "--trainer.max_epochs=4")
    assert second.code == 0, second.err
    expected = [before(n) if n < 2 * STEPS else after(n) for n in range(4 * STEPS)]
    found = rates(tmp_path)
    assert sorted(found) == list(range(4 * STEPS))
    assert [found[n] for n in sorted(found)] == pytest.approx(expected, rel=1e-6)
    jump = f"the learning rate jumps from {before(8) if jumps and schedule != CYCLE else 1e-5:.4g} to {after(8):.4g}"
    assert (jump in second.err) is jumps, second.err


def test_a_training_without_an_end_keeps_the_minimum(command: Command, tmp_path: Path) -> None:
    words = (*FIT, *COSINE, "--model.lrs_config.iterations=5", "--trainer.max_epochs=-1")
    stop = "--trainer.callbacks.EarlyStopping={patience: 1, min_delta: 10}"
    ended = command(*words, stop)
    assert ended.code == 0, ended.err
    assert "val/loss was not better than" in ended.err
    found = rates(tmp_path)
    assert [found[n] for n in range(8)] == pytest.approx([cosine(5, 3, 0.002, 1e-6)(n) for n in range(8)], rel=1e-6)
    refused = command(*FIT, "--trainer.max_epochs=-1")
    assert refused.code == 2
    assert "max_epochs" in refused.err


def fit_on_two(folder: Path, *words: str) -> str:
    """What a training on two devices says; it has half as many steps in an epoch."""
    done = subprocess.run(
        [sys.executable, "-m", "salt", *words, "--trainer.devices=2"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_two_devices_share_a_step(tmp_path: Path) -> None:
    words = (*FIT, *COSINE, "--model.lrs_config.scale_by_devices=sqrt", "--model.lrs_config.min=1e-4")
    said = fit_on_two(tmp_path, *words, "--trainer.max_epochs=3")
    assert "0.00282843 (0.002 times the root of 2 devices)" in said
    found, formula = rates(tmp_path), cosine(6, 3, 0.002 * sqrt(2), 1e-4)
    assert [found[n] for n in sorted(found)] == pytest.approx([formula(n) for n in range(6)], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "changed", "before", "after"),
    [
        (CYCLE, ("--model.lrs_config.max=1e-3",), one_cycle(8, 3e-3), one_cycle(16, 1e-3)),
        (
            (*COSINE, "--model.lrs_config.iterations=6"),
            ("--model.lrs_config.iterations=12", "--model.lrs_config.scale_by_devices=sqrt"),
            cosine(6, 3, 0.002, 1e-6),
            cosine(12, 3, 0.002 * sqrt(2), 1e-6),
        ),
        (
            (*CONSTANT, "--model.lrs_config.scale_by_devices=linear"),
            ("--model.lrs_config.value=1e-4",),
            constant(1e-3, 5),
            constant(2e-4, 5),
        ),
    ],
)
def test_two_devices_go_on_with_other_settings(
    schedule: tuple[str, ...], changed: tuple[str, ...], before: Formula, after: Formula, tmp_path: Path
) -> None:
    fit_on_two(tmp_path, *FIT, *schedule, "--trainer.max_epochs=4")
    (run,) = (tmp_path / "logs").iterdir()
    said = fit_on_two(tmp_path, "fit", f"--run.run_id={run.name}", *changed, "--trainer.max_epochs=8")
    expected = [before(n) if n < 8 else after(n) for n in range(16)]
    found = rates(tmp_path)
    assert sorted(found) == list(range(16))
    assert [found[n] for n in sorted(found)] == pytest.approx(expected, rel=1e-6)
    assert f"to {after(8):.4g}: schedule, length or devices have changed" in said
