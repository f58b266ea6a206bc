"""Ctrl-C and SIGTERM in the middle of a training, with worker processes alive."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_training_cleanly(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    words = ["--trainer.max_epochs=1000", "--trainer.logger=false", "--data.num_workers=2", "--data.num_train=1000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "salt", "fit", "--config", "simple", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(sent)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == code, rest
    assert "Traceback" not in rest
    assert "to continue: main fit --run.run_id" in rest
    left = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True, check=False)
    assert left.stdout == "", "a process lives on"
    (folder,) = (tmp_path / "logs").iterdir()
    torch.load(folder / "ckpts" / "last.ckpt", weights_only=True)
    assert not list(folder.rglob("*.part"))
