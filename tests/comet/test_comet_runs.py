"""Trainings with Comet's own SDK and a server that stands in for Comet's."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from run_files import archived, holds, logged
from stand_in import StandIn

from salt.callbacks.comet import Comet
from salt.main import main

KEY = "a1b2c3d4e5secretsecret"
SMALL = (
    "--config=simple",
    "--data.num_workers=0",
    "--data.batch_size=200",
    "--data.num_train=800",
    "--data.num_val=400",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
)


@pytest.fixture(autouse=True)
def _away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("COMET_", "PL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def only_run(root: Path) -> Path:
    (folder,) = (root / "logs").iterdir()
    return folder


BEGIN = Comet.begin


def begin_and_wait(logger: Comet, *args: Any) -> None:
    """Begins, and lets a training of a second last until Comet has answered."""
    BEGIN(logger, *args)
    while logger._process is not None and not logger._process.heard:
        time.sleep(0.05)


def test_one_experiment_over_all_attempts_online(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PL_TRAINER__LOGGER__API_KEY", KEY)
    monkeypatch.setenv("PL_TRAINER__LOGGER_WORKSPACE", "physics")
    monkeypatch.setattr(Comet, "begin", begin_and_wait)
    with StandIn() as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        look = (
            "--trainer.logger.init_args.tags=[new, good]",
            "--trainer.logger.init_args.options.log_env_details=false",
        )
        assert main(["fit", *SMALL, *look]) == 0
        folder = only_run(tmp_path)
        key = json.loads((folder / "comet.json").read_text())["experiment_key"]
        first = logged(folder)
        sent = server.metrics(key)
        assert holds(first, {k: v for k, (v, _) in sent.items()})
        assert {epoch for (name, _), (_, epoch) in sent.items() if name == "val/loss"} == {0, 1}
        begun = server.bodies("add/run")[-1]
        assert (begun["projectName"], begun["teamName"]) == ("salt", "physics")
        assert server.parameters(key)["trainer.max_epochs"] == "2"
        assert server.bodies("add-tags-to-experiment")[0]["addedTags"] == ["new", "good"]
        assert {"key": "Name", "value": folder.name, "experimentKey": key} in server.bodies("log-other")
        assets = server.assets(key)
        for name in ("config.yaml", "norm_dict.yaml", "metadata.yaml"):
            assert (folder / name).read_bytes() in assets[name]

        capsys.readouterr()
        assert main(["fit", f"--run.run_id={folder.name}", "--trainer.max_epochs=3"]) == 0
        assert f"Comet: {server.url}" in capsys.readouterr().err
        assert holds(logged(folder), {k: v for k, (v, _) in server.metrics(key).items()})
        assert server.parameters(key)["trainer.max_epochs"] == "3"
        assert "config.1.yaml" in server.assets(key)
        assert server.known == {key}

        assert main(["fit", f"--run.fork_run_id={folder.name}", "--trainer.max_epochs=4"]) == 0
        assert len(server.known) == 2
    assert not list(tmp_path.rglob("*.zip"))
    for request in server.requests:
        # Whether anybody is there may be asked by anybody.
        assert request.headers["Authorization"] == KEY or "isAlive" in request.path, request.path
        assert KEY not in request.path
        # The SDK names the key in the body of its own handshakes; what comes from us is elsewhere.
        body = re.sub(rb'"api_?[kK]ey": "[^"]*"', b"", request.body)
        assert KEY.encode() not in body
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_archives_are_complete_and_go_to_one_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["fit", *SMALL]) == 0
    folder = only_run(tmp_path)
    first = logged(folder)
    assert ("val/loss", 7) in first
    assert ("train/loss", 0) in first
    assert holds(first, archived(folder / "comet/attempt-1.zip"))
    assert main(["fit", f"--run.run_id={folder.name}", "--trainer.max_epochs=3"]) == 0
    second = {k: v for k, v in logged(folder).items() if k not in first}
    assert holds(second, archived(folder / "comet/attempt-2.zip"))
    assert not set(first) & set(archived(folder / "comet/attempt-2.zip"))
    assert not list((folder / "comet").glob(".*"))
    with StandIn() as server:
        environment = {**os.environ, "COMET_URL_OVERRIDE": server.url, "COMET_API_KEY": KEY}
        words = [str(Path(sys.executable).parent / "comet"), "upload", *map(str, sorted(folder.glob("comet/*.zip")))]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    (key,) = server.known
    assert key == json.loads((folder / "comet.json").read_text())["experiment_key"]
    assert holds(logged(folder), {k: v for k, (v, _) in server.metrics(key).items()})
    assert {"config.yaml", "config.1.yaml", "norm_dict.yaml"} <= set(server.assets(key))


def test_comet_hears_of_no_training_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(Comet, "begin", lambda *args: begun.append(args))
    assert main(["fit", *SMALL, "--trainer.callbacks.Checkpoint.monitor=val/lss"]) == 2
    assert not begun
    assert not list(tmp_path.glob("logs/*"))


@pytest.mark.parametrize("place", ["init_args", "dict_kwargs"])
def test_a_key_in_a_config_is_refused(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *SMALL, f"--trainer.logger.{place}.api_key={KEY}"]) == 2
    said = capsys.readouterr().err
    assert "COMET_API_KEY" in said
    assert KEY not in said
    assert not list(tmp_path.iterdir())


def test_a_misspelt_option_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *SMALL, "--trainer.logger.init_args.options.log_env_detail=false"]) == 2
    assert "nearest: log_env_details" in capsys.readouterr().err


def test_a_key_that_is_asked_for_and_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *SMALL, "--trainer.logger.init_args.online=true"]) == 2
    assert "no Comet key" in capsys.readouterr().err
    assert not list(tmp_path.glob("logs/*"))


def test_lightnings_comet_is_replaced_and_stays_in_the_config(tmp_path: Path) -> None:
    words = ("--trainer.logger=CometLogger", "--trainer.logger.init_args.project=mine", "--trainer.max_epochs=1")
    assert main(["fit", *SMALL, *words, "--trainer.limit_train_batches=1"]) == 0
    folder = only_run(tmp_path)
    saved = yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["logger"]
    assert saved["class_path"].endswith("CometLogger")
    assert json.loads((folder / "comet.json").read_text())["project"] == "mine"
    assert len(list(folder.glob("comet/*.zip"))) == 1


def test_only_a_valid_key_names_an_experiment() -> None:
    with pytest.raises(Exception, match="32 to 50 letters"):
        Comet(experiment_key="short")
