"""Averages of the weights: what is validated, scored, saved and gone on with."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import SMALL, Command
from killed import differences
from recorded import Weights, recorded, write_record

FIT = ("fit", "--config", "simple", *SMALL, "--model.lrs_config={class_path: Constant, value: 0.003}")
EMA = ("--trainer.callbacks.EMA.decay=0.6",)
SCHEDULE_FREE = ("--model.optimizer={class_path: schedulefree.AdamWScheduleFree}",)


def averaged_by_hand(folder: Path, steps: int, decay: float) -> Weights:
    average = recorded(folder, 0)
    for step in range(1, steps + 1):
        d = min(decay, (1 + step) / (10 + step))
        average = {name: d * average[name] + (1 - d) * now for name, now in recorded(folder, step).items()}
    return average


def scores(path: Path) -> Any:
    (found,) = path.parent.glob(f"{path.stem}__test_*.h5")
    with h5py.File(found) as file:
        jets = file["jets"][:]
    return np.stack([jets[f"simple_p{x}"] for x in "bcu"], axis=1)


def test_an_ema_is_the_average_of_the_weights_of_all_steps(command: Command, tmp_path: Path) -> None:
    record, _ = write_record(tmp_path)
    ended = command(*FIT, *EMA, record, "--trainer.max_epochs=2")
    assert ended.code == 0, ended.err
    (last,) = tmp_path.glob("logs/*/ckpts/last.ckpt")
    checkpoint = torch.load(last, weights_only=True)
    by_hand = {steps: averaged_by_hand(tmp_path, steps, 0.6) for steps in (4, 8)}
    for steps, average in by_hand.items():
        torch.testing.assert_close(recorded(tmp_path, f"validated{steps}"), average)
    torch.testing.assert_close(checkpoint["averaging"]["trained"], recorded(tmp_path, 8), rtol=0, atol=0)

    for name, weights in (("average", by_hand[8]), ("trained", recorded(tmp_path, 8))):
        single = {k: v for k, v in checkpoint.items() if k != "averaging"}
        torch.save({**single, "state_dict": {**checkpoint["state_dict"], **weights}}, last.with_name(f"{name}.ckpt"))
    config = ("test", "--config", str(last.parents[1] / "config.yaml"))
    plain = command(*config, "--ckpt_path", str(last))
    assert plain.code == 0, plain.err
    assert "weights: EMA of decay 0.6" in plain.err
    found = scores(last)
    for name in ("average", "trained"):
        scored = command(*config, "--ckpt_path", str(last.with_name(f"{name}.ckpt")))
        assert "weights:" not in scored.err
    np.testing.assert_allclose(found, scores(last.with_name("average.ckpt")), rtol=1e-5)
    assert abs(found - scores(last.with_name("trained.ckpt"))).max() > 1e-3
    others = command(*config, "--ckpt_path", str(last), "--weights=trained", "--overwrite")
    assert "weights: those in training" in others.err
    np.testing.assert_array_equal(scores(last), scores(last.with_name("trained.ckpt")))


@pytest.mark.parametrize("averaging", [EMA, SCHEDULE_FREE], ids=["ema", "schedule-free"])
def test_what_is_stopped_inside_a_validation_goes_on_to_the_last_bit(
    averaging: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    _, stop = write_record(tmp_path)
    states = []
    for kind in ("whole", "stopped"):
        root = f"--trainer.default_root_dir={kind}"
        stopping = (stop,) if kind == "stopped" else ()
        ended = command(*FIT, *averaging, root, *stopping, "--trainer.max_epochs=2")
        assert ended.code == (143 if stopping else 0), ended.err
        if stopping:
            (run,) = (tmp_path / kind).iterdir()
            ended = command("fit", f"--run.run_id={run.name}", root)
            assert ended.code == 0, ended.err
        (last,) = tmp_path.glob(f"{kind}/*/ckpts/last.ckpt")
        states.append(torch.load(last, weights_only=True))
    for key in ("global_step", "state_dict", "averaging", "optimizer_states"):
        assert differences(states[0][key], states[1][key]) == [], key


def test_what_does_not_go_together_is_refused(run_folder: Path, command: Command) -> None:
    score = ("test", "--config", str(run_folder / "config.yaml"), "--data.num_test=10")
    assert "holds one set of weights" in command(*score, "--weights=trained").err
    twice = command(*FIT, *EMA, *SCHEDULE_FREE, "--trainer.fast_dev_run=1")
    assert (twice.code, "averaged twice" in twice.err) == (2, True)
    foreign = "--trainer.callbacks.X={class_path: lightning.pytorch.callbacks.EMAWeightAveraging}"
    assert "take EMA" in command(*FIT, foreign, "--trainer.fast_dev_run=1").err
    resume = ("--ckpt_path", str(run_folder / "ckpts" / "last.ckpt"), "--trainer.max_epochs=3")
    other = command("fit", "--config", str(run_folder / "config.yaml"), *resume, "--model.optimizer=MuonAdamW")
    assert other.code == 2
    assert "holds the state of torch.optim.adamw.AdamW, and model.optimizer is salt.optim.muon.MuonAdamW" in other.err
    assert "lr: remove it" in command(*FIT, "--model.optimizer={class_path: MuonAdamW, lr: 1.0}").err
