"""Where the programs of the two sides are: ours beside this Python, salt-ml's in an environment of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".bench"
PEER = "salt-ml"
PEER_VERSION = "0.13.0"
PEER_NEEDS = (
    "h5py hdf5plugin comet_ml filelock jsonargparse[signatures] lion-pytorch onnx onnxruntime onnxscript rich scipy "
    "torchmetrics tqdm seaborn atlas-ftag-tools==0.3.3 puma-hep umami-preprocessing py-lap-solver==0.1.4"
)
"""What salt-ml asks for, but for its torch, which would be another one than ours, with several GB of CUDA."""


def ours(name: str) -> Path:
    """A program beside this Python."""
    return Path(sys.executable).parent / name


def peer(name: str) -> Path:
    """A program of salt-ml's environment, which is made at the first call."""
    home = WORK / "venv"
    done = home / f".{PEER}-{PEER_VERSION}"
    if not done.exists():
        _install(home)
        done.touch()
    return home / "bin" / name


def _install(home: Path) -> None:
    """Makes the environment of salt-ml, with the torch and Lightning that ours is tested with."""
    print(f"== Installing {PEER} {PEER_VERSION} into {home}", flush=True)
    if home.exists():
        shutil.rmtree(home)
    pins = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith(("torch==", "lightning==", "pytorch-lightning=="))
    ]
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    install = [home / "bin" / "pip", "install", "--quiet", "--prefer-binary"]
    subprocess.run([*install, *pins, *PEER_NEEDS.split()], check=True)
    subprocess.run([*install, "--no-deps", f"{PEER}=={PEER_VERSION}"], check=True)
