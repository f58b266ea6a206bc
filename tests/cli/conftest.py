from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs `main` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of `simple.yaml`, two epochs. Do not write into it; copy it."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(["fit", "--config", "simple", *SMALL, "--trainer.max_epochs=2"]) == 0
    (folder,) = (root / "logs").iterdir()
    return folder
