"""How fast and how lean is the training, against salt-ml on the same jets and against what the machine can do?

Commands alternate between the two sides, so that both see the same machine; what is printed are medians of the ratios
of pairs, with the smallest and the largest. The report is written as Markdown.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import environments
from parts import PARTS
from processes import run
from trainings import Settings

NUM_TRAIN, NUM_VAL = 100_000, 5_000
"""Jets to simulate; the loader reads all of them, the trainings some."""


def main() -> int:
    """Runs the parts that are asked for, one after the other, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="training file, with val.h5, test.h5 and both dicts beside it")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {','.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of alternating commands")
    parser.add_argument("--variants", default="fp32,bf16,fp32-compiled,bf16-compiled", help="ways to train ours")
    parser.add_argument("--batch_size", type=int, default=1000, help="jets of a training step")
    parser.add_argument(
        "--out", type=Path, default=environments.WORK / "results", help="folder for the report and logs"
    )
    arguments = parser.parse_args()
    asked = arguments.only.split(",")
    for name in asked:
        if name not in PARTS:
            parser.error(f"there is no part '{name}'; there are {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = arguments.out / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True)
    train = arguments.file.resolve() if arguments.file else simulated(out)
    settings = Settings(train, out, arguments.repeats, arguments.variants.split(","), arguments.batch_size)
    environments.peer("salt")
    report = [f"Measured on {time.strftime('%Y-%m-%d')} on {machine()}, {arguments.repeats} rounds, {train.name}."]
    path = out / "report.md"
    for name in asked:
        begun = time.perf_counter()
        print(f"== {name}", flush=True)
        text = PARTS[name](settings)
        print(f"{text}\n({(time.perf_counter() - begun) / 60:.1f} minutes)\n", flush=True)
        report.append(f"### {name}\n\n{text}")
        path.write_text("\n\n".join(report) + "\n")
    print(f"report: {path}")
    return 0


def simulated(out: Path) -> Path:
    """The jets of earlier benchmarks, simulated if there are none yet."""
    jets = environments.WORK / "jets"
    if not (jets / "test.h5").is_file():
        print(f"== Simulating {NUM_TRAIN} jets into {jets}", flush=True)
        sizes = ["--num_train", NUM_TRAIN, "--num_val", NUM_VAL, "--num_test", NUM_VAL]
        run([environments.ours("main"), "simulate", "--out", jets, *sizes, "--seed", 3], out / "simulate.log")
    return jets / "train.h5"


def machine() -> str:
    """The processor and the cores that may be used."""
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores ({names[0] if names else 'unknown processor'})"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; no process is left behind")
    except RuntimeError as error:
        sys.exit(str(error))
