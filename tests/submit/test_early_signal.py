"""The signal of a batch system may come before there is anybody to hear it."""

import signal
import subprocess
import sys
from pathlib import Path

import torch

HELD = """\
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
from salt.main import main
sys.exit(main(sys.argv[1:]))
"""
DIE = """\
from lightning.pytorch import Callback
import os, signal

class Die(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 2:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_signal_that_was_held_back_is_heard(tmp_path: Path) -> None:
    (tmp_path / "die.py").write_text(DIE)
    words = ["--config=simple", "--trainer.logger=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=1"]
    words += ["--data.num_train=300", "--data.num_val=100", "--data.num_workers=0", "--data.batch_size=50"]
    words.append("--trainer.callbacks={Die: {class_path: die.Die}}")
    done = subprocess.run(
        [sys.executable, "-c", HELD, "fit", *words], cwd=tmp_path, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (last,) = tmp_path.glob("logs/*/ckpts/last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == 1
