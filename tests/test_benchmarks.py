"""The parts of the benchmarks that compute something, and that no process of theirs is left behind."""

import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import salt

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module(request.param)


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("module", [name], indirect=True)


@of("summary")
def test_ratios_are_those_of_pairs(module: ModuleType) -> None:
    assert module.ratios([10.0, 30.0, 20.0], [5.0, 3.0, 1.0]) == module.Spread(10.0, 2.0, 20.0)
    with pytest.raises(ValueError, match="zip"):
        module.ratios([1.0, 2.0], [1.0])


@of("summary")
def test_a_table_is_markdown(module: ModuleType) -> None:
    lines = module.markdown(("what", "jets/s"), [("ours", 12345.6), ("theirs", module.Spread(1.0, 0.51, 2.0))])
    assert lines.splitlines() == [
        "| what   | jets/s        |",
        "| ------ | ------------- |",
        "| ours   | 12 346        |",
        "| theirs | 1 (0.51 to 2) |",
    ]


@of("scores")
def test_figures_of_ten_jets_by_hand(module: ModuleType) -> None:
    b = np.array([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.45, 0.1, 0.05], "f4")
    rest = ((1 - b) / 2).astype("f4")
    flavour = np.array([5, 5, 5, 5, 5, 4, 4, 0, 0, 0])
    found = module.figures_of({"b": b, "c": rest, "u": rest}, flavour)
    right = [0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.4, 0.275, 0.45, 0.475]
    assert found["jet cross-entropy"] == pytest.approx(-np.log(right).mean(), rel=1e-6)
    # Three of five b-jets are 60%, four are 70% and 77% at least, and with the cut at 0.5 nothing else passes.
    assert found["light-rejection at 60%"] == np.inf
    assert found["c-rejection at 77%"] == np.inf
    b[3] = 0.42
    found = module.figures_of({"b": b, "c": (1 - b) / 2, "u": (1 - b) / 2}, flavour)
    assert found["light-rejection at 77%"] == pytest.approx(3)
    with pytest.raises(ValueError, match="no probability"):
        module.figures_of({"b": b, "c": rest, "u": rest}, np.where(flavour == 4, 15, flavour))


@of("scores")
def test_better_is_less_cross_entropy_and_more_rejection(module: ModuleType) -> None:
    low, high = module.Mean.of([1.0, 2.0, 3.0]), module.Mean.of([4.0, 5.0, 6.0])
    assert low.error == pytest.approx(1 / np.sqrt(3))
    assert module.advantage("jet cross-entropy", low, high) == pytest.approx(3 / np.sqrt(2 / 3))
    assert module.advantage("c-rejection at 70%", low, high) == pytest.approx(-3 / np.sqrt(2 / 3))
    assert np.isnan(module.Mean.of([2.0, np.inf]).error)


@of("learning")
def test_the_checkpoint_of_least_loss_is_taken_for_both_sides(module: ModuleType) -> None:
    names = ["epoch=002-val_loss=2.02045.ckpt", "epoch003-val_loss1.91162.ckpt", "last.ckpt"]
    assert [module.loss_of(Path(name)) for name in names] == [2.02045, 1.91162, np.inf]


@of("learning")
def test_an_error_has_two_digits(module: ModuleType) -> None:
    pairs = [(0.51604, 0.00341), (1324.4, 127.3), (13.04, 0.46), (5.0, float("nan"))]
    words = ["0.5160 ± 0.0034", "1324 ± 127", "13.04 ± 0.46", "5.000 ± nan"]
    assert [module.words(module.Mean(*pair)) for pair in pairs] == words


@of("processes")
def test_memory_of_children_counts(module: ModuleType, tmp_path: Path) -> None:
    child = "import time; x = bytearray(150_000_000); time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    used = module.run([sys.executable, "-c", parent], tmp_path / "log", watch=True)
    assert 150e6 < used.peak < 300e6
    assert used.wall >= 1


@of("processes")
def test_a_failure_shows_the_end_of_the_output(module: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"code 3(?s:.*)so it ends"):
        module.run([sys.executable, "-c", "print('so it ends'); raise SystemExit(3)"], tmp_path / "log")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    script = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); from pathlib import Path; "
        f"from processes import run; run([sys.executable, '-c', {child!r}], Path('log'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as measuring:
        log = tmp_path / "log"
        while not (log.exists() and log.read_text().strip()):
            assert measuring.poll() is None
            time.sleep(0.05)
        measuring.send_signal(number)
        measuring.wait(30)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


@of("trainings")
def test_a_training_of_ours_tells_its_speed(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr(module, "EPOCHS", {True: 2})
    sample = Path(salt.__file__).parent / "sample"
    settings = module.Settings(sample / "train.h5", tmp_path, repeats=1, variants=["fp32"], batch_size=50)
    theirs, ours = settings.trainings
    assert (theirs.name, ours.name) == ("salt-ml-fp32", "salt-fp32")
    found = module.train(settings, ours, tmp_path / "run")
    assert found.step > found.epoch > 0
    assert 0 <= found.between < 1
    assert 600_000 < found.parameters < 800_000
    assert module.count(settings, ours) > 2 * 100 * found.parameters
