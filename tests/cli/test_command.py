"""Whole commands on the packaged sample."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from conftest import SMALL, Command
from logged import repeatable

from salt.cli.configs import zoo

WEIGHTS = {"weights_only": True, "map_location": "cpu"}


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, **WEIGHTS)["state_dict"]  # type: ignore[arg-type]
    return state


def same_weights(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def metrics(folder: Path) -> list[dict[str, str]]:
    return repeatable(folder / "metrics.csv")


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "moved" / run_folder.name))


def only_run(root: Path) -> Path:
    (folder,) = (root / "logs").iterdir()
    return folder


def test_a_run_leaves_what_is_needed_to_repeat_it(run_folder: Path) -> None:
    names = sorted(p.name for p in run_folder.iterdir())
    assert names == [
        ".lock",
        "ckpts",
        "config.yaml",
        "lineage.json",
        "loss_weights.yaml",
        "metadata.yaml",
        "metrics.csv",
        "norm_dict.yaml",
        "simple.ckpt",
    ]
    checkpoints = sorted(p.name for p in (run_folder / "ckpts").iterdir())
    assert checkpoints[-1] == "last.ckpt"
    assert len(checkpoints) == 3
    metadata = yaml.safe_load((run_folder / "metadata.yaml").read_text())
    assert metadata["seed"] == 42
    assert metadata["files"]["train"]["jets"] == 800
    assert "sha256_header" in metadata["files"]["train"]["files"][0]
    losses = [float(row["val/loss"]) for row in metrics(run_folder) if row["val/loss"]]
    assert len(losses) == 2
    best = min(losses)
    assert any(f"{best:.5f}" in name for name in checkpoints)


def test_a_saved_config_is_a_fixed_point(run_folder: Path, command: Command) -> None:
    saved = (run_folder / "config.yaml").read_text()
    result = command("fit", "--config", str(run_folder / "config.yaml"), "--print_config")
    assert result.out == saved


def test_a_saved_config_repeats_the_run_to_the_last_bit(run_folder: Path, command: Command, tmp_path: Path) -> None:
    assert command("fit", "--config", str(run_folder / "config.yaml")).code == 0
    repeated = only_run(tmp_path)
    assert same_weights(run_folder / "ckpts/last.ckpt", repeated / "ckpts/last.ckpt")
    assert metrics(repeated) == metrics(run_folder)


def test_the_statistics_belong_to_the_checkpoint(run_folder: Path) -> None:
    norms = yaml.safe_load((run_folder / "norm_dict.yaml").read_text())
    mean = weights(run_folder / "ckpts/last.ckpt")["model.normalise.jets.mean"]
    assert mean[0].item() == pytest.approx(norms["jets"]["pt"]["mean"])
    assert norms["jets"]["pt"]["mean"] > 1


def test_best_checkpoint_scores_every_row_in_place(copied: Path, command: Command) -> None:
    result = command("test", "--config", str(copied / "config.yaml"), "--data.num_test=-1")
    assert result.code == 0
    (path,) = copied.glob("ckpts/*__test_sample_test.h5")
    best = min(p.name.rpartition("loss")[2] for p in copied.glob("ckpts/epoch*.ckpt"))
    assert best.removesuffix(".ckpt") in path.name
    with h5py.File(path, locking=False) as file, h5py.File(sample("test"), locking=False) as source:
        jets, truth = file["jets"][:], source["jets"][:]
        assert file["jets"].attrs["flavour_label"].tolist() == ["bjets", "cjets", "ujets"]
    assert len(jets) == len(truth)
    for name in ("pt", "eventNumber", "flavour_label"):
        np.testing.assert_array_equal(jets[name], truth[name])
    probabilities = np.stack([jets[f"simple_p{x}"] for x in "bcu"])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=2e-6)
    assert len(np.unique(probabilities[0])) > len(jets) // 2


def sample(part: str) -> Path:
    import salt

    return Path(salt.__file__).parent / "sample" / f"{part}.h5"


def test_predictions_are_not_replaced_unasked(copied: Path, command: Command) -> None:
    words = ("test", "--config", str(copied / "config.yaml"))
    assert command(*words).code == 0
    refused = command(*words, "--data.num_test=100")
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert command(*words, "--data.num_test=100", "--overwrite").code == 0
    assert not list(copied.rglob("*.part"))


def test_a_file_without_labels_is_tested_and_predicted(copied: Path, command: Command, tmp_path: Path) -> None:
    bare = tmp_path / "bare.h5"
    with h5py.File(sample("test"), locking=False) as source, h5py.File(bare, "w") as file:
        for name in ("jets", "tracks"):
            table = source[name][:300]
            fields = [f for f in table.dtype.names if "Truth" not in f and "label" not in f]
            file.create_dataset(name, data=table[fields])
    words = ("--config", str(copied / "config.yaml"), f"--data.test_file={bare}", "--data.num_test=-1")
    assert command("test", *words).code == 0
    scored = copied / f"{best_stem(copied)}__test_bare.h5"
    with h5py.File(scored, locking=False) as file:
        first = file["jets"][:]
    assert command("predict", *words, "--overwrite").code == 0
    with h5py.File(scored, locking=False) as file:
        second = file["jets"][:]
    np.testing.assert_array_equal(first, second)
    assert len(first) == 300


def best_stem(folder: Path) -> str:
    best = min(folder.glob("ckpts/epoch*.ckpt"), key=lambda p: p.stem.rpartition("loss")[2])
    return f"ckpts/{best.stem}"


def test_selected_rows_stay_in_place(copied: Path, command: Command) -> None:
    result = command(
        "test",
        "--config",
        str(copied / "config.yaml"),
        "--data.num_test=-1",
        "--data.inputs.jets.selection",
        "[pt > 60]",
    )
    assert result.code == 0, result.err
    with h5py.File(next(copied.glob("ckpts/*__test_*.h5")), locking=False) as file:
        jets = file["jets"][:]
    with h5py.File(sample("test"), locking=False) as source:
        pt = source["jets"]["pt"]
    np.testing.assert_array_equal(jets["pt"], pt)
    np.testing.assert_array_equal(np.isfinite(jets["simple_pb"]), pt > 60)


def test_resuming_goes_on_counting_with_the_users_values(copied: Path, command: Command, tmp_path: Path) -> None:
    result = command(
        "fit",
        "--config",
        str(copied / "config.yaml"),
        f"--ckpt_path={copied / 'ckpts/last.ckpt'}",
        "--trainer.max_epochs=3",
        "--model.lrs_config.max=0.002",
    )
    assert result.code == 0, result.err
    resumed = only_run(tmp_path)
    rows = metrics(resumed)
    assert [row["epoch"] for row in rows if row["val/loss"]] == ["2"]
    assert yaml.safe_load((resumed / "config.yaml").read_text())["model"]["lrs_config"]["max"] == 0.002
    before, after = (torch.load(f / "ckpts/last.ckpt", **WEIGHTS) for f in (copied, resumed))  # type: ignore[arg-type]
    assert before["global_step"] == 8
    assert after["global_step"] == 12
    steps = [s["optimizer_states"][0]["state"][0]["step"].item() for s in (before, after)]
    assert steps == [8, 12], "the optimiser started anew"


def test_a_finished_training_says_so(copied: Path, command: Command, tmp_path: Path) -> None:
    words = ("fit", "--config", str(copied / "config.yaml"), f"--ckpt_path={copied / 'ckpts/last.ckpt'}")
    result = command(*words)
    assert result.code == 2
    assert "--trainer.max_epochs" in result.err
    assert not list((tmp_path / "logs").iterdir())


def test_a_config_that_does_not_fit_the_weights_is_named(copied: Path, command: Command) -> None:
    words = ("test", "--config", str(copied / "config.yaml"))
    wider = command(*words, "--model.embed_dim=16")
    assert wider.code == 2
    assert "embed_dim" in wider.err
    assert len(wider.err.splitlines()) <= 4
    fewer = command(*words, "--data.inputs.tracks.variables=[d0]")
    assert fewer.code == 2
    assert "trained with input 'tracks'" in fewer.err


def test_fast_dev_run_leaves_nothing(command: Command, tmp_path: Path) -> None:
    result = command("fit", "--config", "simple", "--trainer.fast_dev_run", "5", "--data.num_workers=0")
    assert result.code == 0, result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in zoo() if name != "pretrain"])  # Which writes no columns.
def test_every_packaged_config_trains_and_scores(name: str, command: Command, tmp_path: Path) -> None:
    small = [w for w in SMALL if "logger" not in w]
    assert command("fit", "-m", name, *small, "--trainer.fast_dev_run", "2").code == 0
    result = command("fit", "-m", name, *SMALL, "--trainer.max_epochs=1")
    assert result.code == 0, result.err
    folder = only_run(tmp_path)
    assert command("test", "--config", str(folder / "config.yaml")).code == 0
    with h5py.File(next(folder.glob("ckpts/*.h5")), locking=False) as file:
        columns: Any = file["jets"].dtype.names
        assert any(c.startswith(f"{name}_") for c in columns)
        if "tracks" in file:
            tracks = file["tracks"][:]
            assert tracks["valid"].any()
            assert np.isnan(tracks[f"{name}_pPileup"][~tracks["valid"]]).all()
            assert np.isfinite(tracks[f"{name}_pPileup"][tracks["valid"]]).all()


def test_comet_without_a_key_writes_an_archive(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("COMET_API_KEY", "COMET_START_ONLINE", "COMET_OFFLINE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    small = [w for w in SMALL if "logger" not in w]
    done = subprocess.run(
        [sys.executable, "-m", "salt", "fit", "--config", "simple", *small, "--trainer.max_epochs=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no Comet key" in done.stderr
    archives = list((only_run(tmp_path) / "comet").glob("*.zip"))
    assert len(archives) == 1


def test_two_devices_take_the_steps_of_one(tmp_path: Path) -> None:
    losses = []
    for devices, batch in ((1, 200), (2, 100)):
        root = tmp_path / str(devices)
        root.mkdir()
        words = [*SMALL, "--trainer.max_epochs=2", f"--trainer.devices={devices}", f"--data.batch_size={batch}"]
        subprocess.run(
            [sys.executable, "-m", "salt", "fit", "--config", "simple", *words],
            cwd=root,
            capture_output=True,
            timeout=300,
            check=True,
        )
        losses.append([float(row["val/loss"]) for row in metrics(only_run(root)) if row["val/loss"]])
        assert torch.load(only_run(root) / "ckpts/last.ckpt", **WEIGHTS)["global_step"] == 8  # type: ignore[arg-type]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.parametrize("start", [["salt/main.py"], ["-m", "salt"]])
def test_the_command_starts_in_every_way(start: list[str]) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, *start, "fit", "--help"], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--data.batch_size" in done.stdout
    assert "Jets in a batch of one device." in done.stdout
    assert "  -b                 --data.batch_size  " in done.stdout
