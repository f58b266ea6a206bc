"""Loggers by their class path write into the run folder."""

import importlib.util
import json
from pathlib import Path

import pytest
import yaml
from conftest import SMALL, Command

from salt.main import main

SHORT = [word for word in SMALL if "logger" not in word] + ["--trainer.max_epochs=2", "--trainer.log_every_n_steps=1"]


def only_run(root: Path) -> Path:
    (folder,) = (root / "logs").iterdir()
    return folder


def test_tensorboard_writes_metrics_and_figures_into_the_run_folder(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = command("fit", "--config=simple", *SHORT, "--trainer.logger=TensorBoardLogger")
    assert result.code == 0, result.err
    folder = only_run(tmp_path)
    saved = (folder / "config.yaml").read_text()
    assert yaml.safe_load(saved)["trainer"]["logger"]["init_args"]["save_dir"] == "."
    assert command("fit", "--config", str(folder / "config.yaml"), "--print_config").out == saved
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    with (folder / "metrics.csv").open() as file:
        head = file.readline().strip().split(",")
        rows = [dict(zip(head, line.strip().split(","), strict=True)) for line in file]
    for name in ("train/loss", "val/loss"):
        ours = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        theirs = [(scalar.step, scalar.value) for scalar in events.Scalars(name)]
        assert [step for step, _ in theirs] == [step for step, _ in ours]
        assert [value for _, value in theirs] == pytest.approx([value for _, value in ours])
    assert "val/jets_classification/confusion" in events.Tags()["images"]
    assert "max_epochs" in (folder / "tensorboard/hparams.yaml").read_text()


@pytest.mark.parametrize(
    ("logger", "package", "left"),
    [
        ("MLFlowLogger", "mlflow", "mlruns/*/*/metrics/val/loss"),
        ("WandbLogger", "wandb", "wandb/offline-run-*/*.wandb"),
    ],
)
def test_others_write_offline_where_they_are_installed(
    logger: str, package: str, left: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec(package) is None:
        result = command("fit", "--config=simple", *SHORT, f"--trainer.logger={logger}")
        assert result.code == 2
        assert package in result.err
        assert not (tmp_path / "logs").exists() or not list((tmp_path / "logs").iterdir())
        return
    monkeypatch.setenv("WANDB_MODE", "offline")
    result = command("fit", "--config=simple", *SHORT, f"--trainer.logger={logger}")
    assert result.code == 0, result.err
    assert list(only_run(tmp_path).glob(left))


@pytest.mark.parametrize("logger", ["TensorBoardLogger", "MLFlowLogger", "WandbLogger", "CSVLogger", "CometLogger"])
def test_configs_with_any_logger_are_fixed_points(
    logger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config=simple", f"--trainer.logger={logger}", "--print_config"]) == 0
    saved = capsys.readouterr().out
    assert yaml.safe_load(saved)["trainer"]["logger"]["class_path"].endswith(logger)
    (tmp_path / "saved.yaml").write_text(saved)
    assert main(["fit", "--config=saved.yaml", "--print_config"]) == 0
    assert capsys.readouterr().out == saved


def test_two_loggers_at_once(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COMET_API_KEY", raising=False)
    (tmp_path / "two.yaml").write_text(
        "trainer:\n  logger:\n  - {class_path: salt.callbacks.Comet}\n  - {class_path: TensorBoardLogger}\n"
    )
    result = command("fit", "--config=simple", "--config=two.yaml", *SHORT)
    assert result.code == 0, result.err
    folder = only_run(tmp_path)
    assert list((folder / "tensorboard").glob("events*"))
    assert list((folder / "comet").glob("*.zip"))
    figures = [json.loads(line) for line in (folder / "comet/figures.jsonl").read_text().splitlines()]
    assert {figure["epoch"] for figure in figures} == {0, 1}
