"""Trainings that are killed and resumed, for comparison with one that is not."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

TELL = '''
import sys
from lightning.pytorch import Callback

def say(moment):
    sys.stderr.write(f"moment {moment}\\n")
    sys.stderr.flush()

class Tell(Callback):
    """Tells which moment of a training this is."""

    def setup(self, trainer, pl_module, stage):
        say("start")

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        say("step")

    def on_validation_batch_start(self, trainer, *args, **kwargs):
        if not trainer.sanity_checking:
            say("validation")

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        say("save")
'''

MOMENTS = ("start", "step", "validation", "save")
AT_MOST = {"start": 1, "step": 20, "validation": 6, "save": 8}
"""How often a moment comes, at most, before the process is killed at it."""


@dataclass(frozen=True)
class Settings:
    """What is varied."""

    workers: int
    batched: bool
    packed: bool
    ranks: int

    def words(self) -> list[str]:
        staging = ["--data.move_files_temp=fast", "--data.stage=packed"] if self.packed else []
        return [
            "--config=gnn",
            "--config=tell.yaml",
            "--trainer.logger=false",
            "--trainer.accelerator=cpu",
            f"--trainer.devices={self.ranks}",
            f"--data.num_workers={self.workers}",
            f"--data.batched_read={self.batched}",
            f"--data.batch_size={60 // self.ranks}",
            *staging,
        ]


CONFIG = """
data: {num_train: 600, num_val: 200}
model:
  embed_dim: 32
  encoder: {init_args: {num_layers: 2}}
trainer:
  max_epochs: 3
  callbacks:
    Checkpoint: {every_n_steps: 3}
    Tell: {class_path: tell.Tell}
"""


@dataclass(frozen=True)
class Kill:
    """A SIGKILL after a moment has come so many times, some milliseconds later."""

    moment: str
    times: int
    milliseconds: float


def draw_kills(seed: int) -> list[Kill]:
    """One to three of them."""
    dice = random.Random(seed)
    moments = [MOMENTS[(seed + i) % len(MOMENTS)] for i in range(1 + seed % 3)]
    return [Kill(m, dice.randint(1, AT_MOST[m]), dice.choice([0.0, 1.0, 5.0, 30.0]) * dice.random()) for m in moments]


def prepare(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "tell.py").write_text(TELL)
    (folder / "tell.yaml").write_text(CONFIG)


def start(folder: Path, words: Sequence[str], environ: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SALT_", "SLURM_", "PL_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "salt", "fit", *words],
        cwd=folder,
        env={**clean, "OMP_NUM_THREADS": "1", **(environ or {})},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(folder: Path, words: Sequence[str], kill: Kill | None = None) -> bool:
    """Runs a command to its end, or to where it is killed; then no process of it is left.

    Returns:
        Whether it came to its end.
    """
    process = start(folder, words)
    assert process.stderr is not None
    said, count = [], 0
    for line in process.stderr:
        said.append(line)
        if kill is not None and line == f"moment {kill.moment}\n":
            count += 1
            if count == kill.times:
                time.sleep(kill.milliseconds / 1000)
                process.send_signal(signal.SIGKILL)
    process.stderr.close()
    code = process.wait()
    wait_until_gone(process.pid)
    assert code in (0, -signal.SIGKILL), "".join(said)
    return code == 0


def members(session: int) -> list[int]:
    """The processes of a session that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until_gone(session: int, seconds: float = 10) -> None:
    """Fails if a process of a session lives on."""
    end = time.monotonic() + seconds
    while members(session):
        assert time.monotonic() < end, f"processes live on: {members(session)}"
        time.sleep(0.05)


def killed_and_resumed(folder: Path, settings: Settings, kills: Sequence[Kill]) -> int:
    """Trains, however often it is killed.

    Returns:
        How often it was.
    """
    for killed, kill in enumerate([*kills, None]):
        runs = list((folder / "logs").glob("gnn_*/config.yaml"))
        words = [f"--run.run_id={runs[0].parent.name}"] if runs else settings.words()
        if finish(folder, words, kill):
            return killed
    raise AssertionError("the last command was killed")


def final_state(folder: Path) -> dict[str, Any]:
    """What the training has come to: weights, optimiser, random numbers."""
    (last,) = folder.glob("logs/*/ckpts/last.ckpt")
    assert not list(folder.rglob("*.part"))
    found = torch.load(last, weights_only=True)
    return {key: found[key] for key in ("global_step", "state_dict", "optimizer_states", "loops", "random_states")}


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two states are not the same to the last bit."""
    if isinstance(ours, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [path]
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), path
        return [d for key in ours for d in differences(ours[key], theirs[key], f"{path}/{key}")]
    if isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), path
        return [d for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) for d in differences(a, b, f"{path}/{i}")]
    return [] if ours == theirs else [f"{path}: {ours} != {theirs}"]
