"""How a training step is computed makes no difference to its result."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SMALL, Command
from test_command import WEIGHTS, metrics, weights

TRANSFORMER = (
    "--model.encoder={class_path: Transformer, init_args: {num_layers: 1, num_heads: 4}}",
    "--model.embed_dim=32",
)


def test_a_batch_in_parts_is_the_whole_batch(command: Command, tmp_path: Path) -> None:
    """Losses of two epochs, and with them all gradients, agree to rounding."""
    for name, flags in (("whole", ()), ("parts", ("--data.constituents_per_step=200",))):
        words = ("--config", "gn2", *SMALL, *TRANSFORMER, f"--trainer.default_root_dir={name}", *flags)
        assert command("fit", *words, "--trainer.max_epochs=2").code == 0
    whole, parts = (metrics(next((tmp_path / name).iterdir())) for name in ("whole", "parts"))
    assert whole != parts, "the batches were not cut"
    for one, other in zip(whole, parts, strict=True):
        for key, value in one.items():
            if "loss" in key and value:
                assert float(value) == pytest.approx(float(other[key]), rel=1e-4), key


@pytest.mark.parametrize("config", ["simple", "gn2"])
def test_accumulated_batches_are_one_large_batch(config: str, command: Command, tmp_path: Path) -> None:
    """Weights after one epoch, whose last step is smaller, agree to rounding, and so does what counts batches."""
    flags = ("--data.num_train=170", "--trainer.max_epochs=1", "--trainer.limit_train_batches")
    ways = {
        "large": ("8", "--data.batch_size=40"),
        "parts": ("32", "--data.batch_size=10", "--trainer.accumulate_grad_batches=4"),
    }
    for name, (limit, *way) in ways.items():
        words = ("--config", config, *SMALL, *TRANSFORMER[: 2 * (config == "gn2")], *flags, limit, *way)
        assert command("fit", *words, f"--trainer.default_root_dir={name}").code == 0
    large, parts = (next((tmp_path / name).iterdir()) for name in ways)
    assert [row["step"] for row in metrics(large)] == [row["step"] for row in metrics(parts)]
    one, other = (weights(folder / "ckpts/last.ckpt") for folder in (large, parts))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=5e-6)


def test_a_step_that_changes_its_size(command: Command) -> None:
    scheduler = (
        "{class_path: lightning.pytorch.callbacks.GradientAccumulationScheduler, init_args: {scheduling: {1: 2}}}"
    )
    result = command("fit", "--config", "simple", *SMALL, f"--trainer.callbacks.Growing={scheduler}")
    assert result.code == 2
    assert result.err.startswith("error: trainer.callbacks: GradientAccumulationScheduler changes the size of a step")


def test_what_is_wrong_with_the_cap(command: Command) -> None:
    result = command("fit", "--config", "simple", *SMALL, "--data.constituents_per_step=0")
    assert (result.code, result.err) == (2, "error: data.constituents_per_step is 0; it must be at least 1, or null\n")


@pytest.mark.parametrize("config", ["simple", "gn2", "regression"])
def test_half_precision(config: str, command: Command, tmp_path: Path) -> None:
    """Weights stay in full precision, and the losses come out nearly the same."""
    found = {}
    for precision in ("32-true", "bf16-mixed"):
        words = ("--config", config, *SMALL, f"--trainer.precision={precision}", "--trainer.max_epochs=1")
        assert command("fit", *words, f"--trainer.default_root_dir={precision}").code == 0
        folder = next((tmp_path / precision).iterdir())
        found[precision] = float(metrics(folder)[-1]["val/loss"])
        assert all(v.dtype != torch.bfloat16 for v in weights(folder / "ckpts/last.ckpt").values())
    assert found["32-true"] != found["bf16-mixed"]
    assert found["32-true"] == pytest.approx(found["bf16-mixed"], rel=0.02)


def main(*words: str, logs: str = "") -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"TORCH_LOGS": logs} if logs else {})}
    command = [sys.executable, "-m", "salt", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr


def test_compiling_without_a_compiler(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "salt", "fit", "--config", "simple", *SMALL, "--compile"]
    environment = {k: v for k, v in os.environ.items() if k != "CXX"} | {"PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1][:39]) == (2, "error: --compile needs a C++ compiler o"), done
    assert not list((tmp_path / "logs").iterdir())


MOST_COMPILED_AGAIN = 30
"""Functions are compiled once more for validation and for layers of other sizes, but not for other batches."""


@pytest.mark.slow
@pytest.mark.parametrize("config", ["simple", "gnn", "gn2", "flows", "regression"])
def test_compiled(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, test and resume; checkpoints fit a model that is not compiled."""
    monkeypatch.chdir(tmp_path)
    words = ("--config", config, *SMALL, "--trainer.max_epochs=2", "--trainer.default_root_dir")
    main("fit", *words, "eager")
    log = main("fit", *words, "compiled", "--compile", logs="recompiles")
    eager, compiled = (next((tmp_path / name).iterdir()) for name in ("eager", "compiled"))
    assert len(re.findall("Recompiling function", log)) <= MOST_COMPILED_AGAIN
    assert "recompile_limit" not in log
    one, other = (torch.load(f / "ckpts/last.ckpt", **WEIGHTS) for f in (eager, compiled))  # type: ignore[arg-type]
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for row, same in zip(metrics(eager), metrics(compiled), strict=True):
        if row["val/loss"]:
            assert float(row["val/loss"]) == pytest.approx(float(same["val/loss"]), rel=0.05)
    main("test", "--config", str(compiled / "config.yaml"))
    last = str(compiled / "ckpts/last.ckpt")
    resumed = ("--trainer.max_epochs=3", "--trainer.default_root_dir=resumed")
    main("fit", "--config", str(compiled / "config.yaml"), "--ckpt_path", last, *resumed)
    main("test", "--config", str(eager / "config.yaml"), "--ckpt_path", last, "--overwrite", "--compile=false")
