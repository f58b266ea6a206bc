"""Loaders alone, each in a process of its own: jets per second of whole passes over the training file."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import h5py
from environments import PEER, ours, peer
from processes import run
from rivals import JET_VARIABLES, TRACK_VARIABLES
from summary import Spread, markdown, ratios
from trainings import HERE, Settings, peaks

LABELS = {"jets": ["flavour_label"], "tracks": ["ftagTruthOriginLabel", "ftagTruthVertexIndex"]}


def loader(settings: Settings) -> str:
    """Ours from the file with one and two threads and from a packed stage, in both orders, against salt-ml's."""
    variables = {"jets": JET_VARIABLES, "tracks": TRACK_VARIABLES}
    theirs = [peer("python"), HERE / "peer_loader.py", settings.train, "--variables", json.dumps(variables)]
    commands: dict[str, list[object]] = {PEER: [*theirs, "--labels", json.dumps(LABELS)]}
    stage = Path(tempfile.mkdtemp(dir=_fast(settings.out)))
    try:
        mine = [ours("python"), HERE / "our_loader.py", settings.train]
        for order in ("weak", "blocks"):
            commands |= {
                f"file, 1 thread, {order}": [*mine, "--order", order, "--threads", 1],
                f"file, 2 threads, {order}": [*mine, "--order", order, "--threads", 2],
                f"packed stage, {order}": [*mine, "--order", order, "--packed", stage],
            }
        found: dict[str, list[Mapping[str, float]]] = {name: [] for name in commands}
        for number in range(settings.repeats):
            for name, command in list(commands.items())[:: 1 if number % 2 == 0 else -1]:
                log = settings.out / "loader" / f"{name.replace(', ', '-').replace(' ', '-')}-{number}.json"
                sizes = ["--batch_size", settings.batch_size]
                run([*command, *sizes], log, {"OMP_NUM_THREADS": "1"})
                found[name].append(json.loads(log.read_text().splitlines()[-1]))
                print(f"  round {number + 1}: {name:28} {found[name][-1]['wall']:12,.0f} jets/s", flush=True)
        with h5py.File(settings.train) as file:
            size = sum(path.stat().st_size for path in stage.iterdir()) / len(file["jets"])
    finally:
        shutil.rmtree(stage)
    rows = [
        (
            name,
            Spread.of([p["wall"] for p in passes]),
            ratios([p["wall"] for p in passes], [p["wall"] for p in found[PEER]]),
            Spread.of([p["cpu"] for p in passes]),
            ratios([p["cpu"] for p in passes], [p["cpu"] for p in found[PEER]]),
        )
        for name, passes in found.items()
    ]
    table = markdown(("loader", "jets/s", f"times {PEER}", "jets per CPU second", f"times {PEER}"), rows)
    fastest = max(p["wall"] for passes in found.values() for p in passes)
    copy = peaks(settings.out / "loader")["copy"]
    return (
        f"{table}\n\nThe packed stage has {size:.0f} bytes a jet, so the fastest pass reads "
        f"{fastest * size / 1e9:.2f} GB/s; a copy of memory moves {copy / 1e9:.1f} GB/s, read and written."
    )


def _fast(other: Path) -> Path:
    """Memory as a folder, or else a folder on the disk."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else other
