"""Signals from outside to a training with processes that read and several ranks, and a second Ctrl-C."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from killed import start, wait_until_gone

WORDS = (
    "--config=simple",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1000",
    "--trainer.logger=false",
    "--data.num_train=1000",
    "--data.num_val=200",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "ranks", "to_all"),
    [
        (signal.SIGINT, 130, 1, False),
        (signal.SIGINT, 130, 2, True),
        (signal.SIGTERM, 143, 1, True),
        (signal.SIGTERM, 143, 2, False),
    ],
)
def test_a_signal_ends_a_training_cleanly(
    sent: signal.Signals, code: int, ranks: int, to_all: bool, tmp_path: Path
) -> None:
    process = start(tmp_path, [*WORDS, "--data.num_workers=2", f"--trainer.devices={ranks}"])
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    if to_all:
        subprocess.run(["pkill", f"-{int(sent)}", "-s", str(process.pid)], check=True)
    else:
        process.send_signal(sent)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == code, rest
    assert "Traceback" not in rest
    assert rest.count("to continue: main fit --run.run_id") == 1
    wait_until_gone(process.pid, 1)
    (folder,) = (tmp_path / "logs").iterdir()
    torch.load(folder / "ckpts" / "last.ckpt", weights_only=True)
    assert not list(folder.rglob("*.part"))


STUCK = """
import ctypes, sys
from pathlib import Path
from salt.cli.signals import Signals
from salt.files import complete_or_absent

with Signals() as signals, complete_or_absent(Path("whole")) as beside:
    signals.patient = True
    beside.write_text("half of it")
    print("ready", flush=True)
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):  # A computation that no signal reaches.
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


def test_a_second_ctrl_c_ends_what_no_handler_can_end(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.6)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert list(tmp_path.iterdir()) == []
