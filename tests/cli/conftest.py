import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from salt.main import main

SMALL = (
    "--trainer.logger=false",
    "--data.num_workers=0",
    "--data.batch_size=200",
    "--data.num_train=800",
    "--data.num_val=400",
    "--data.num_test=500",
    "--trainer.accelerator=cpu",
)
"""A training of seconds on the packaged sample."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Command]:
    """Runs `main` in this process, in an empty folder, and leaves no path, variable or level to the next test.

    Modules of the folder stay imported, since jsonargparse looks for each derived class for as long as it lives.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    logger = logging.getLogger("salt")
    level = logger.level

    def run(*words: str) -> Result:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    with patch.dict(os.environ):
        yield run
    logger.setLevel(level)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of `simple.yaml`, two epochs. Do not write into it; copy it."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as while_it_runs, patch.dict(os.environ):
        while_it_runs.chdir(root)
        while_it_runs.setattr(sys, "path", [*sys.path])
        assert main(["fit", "--config", "simple", *SMALL, "--trainer.max_epochs=2"]) == 0
    (folder,) = (root / "logs").iterdir()
    return folder
