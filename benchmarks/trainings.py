"""Trainings of both sides in alternation: jets per second, memory, and the share of what the machine can do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from environments import PEER, ours
from processes import Usage, run
from rivals import PRECISIONS, Job, Variant, fit_command
from summary import Spread, markdown, ratios

HERE = Path(__file__).parent
HOOKS = {"PYTHONPATH": str(HERE / "hooks")}
WATCHED = {**HOOKS, "OMP_NUM_THREADS": "1"}
"""Operations are counted and timed in the thread that trains, which then is the only one."""

STEPS = 10
"""Steps of an epoch; all epochs have the same jets, so that both sides train on the same ones."""

EPOCHS = {True: 7, False: 2}
"""Epochs of ours and of salt-ml's, of which the first one warms up and does not count."""

VALIDATION_STEPS = 2
COUNTED_STEPS = 4
MEMORY_STEPS = 12
"""Of a training of 10 steps the schedule of salt-ml fails: its top lies at step 10 * 0.1 - 1."""
COUNTED = Variant(True, "fp32")
"""The training of which the arithmetic is counted."""


@dataclass(frozen=True)
class Settings:
    """What all parts share.

    Args:
        train: Training file, with the others beside it.
        out: Folder for logs and results.
        repeats: Rounds of alternating commands.
        variants: Ways to train ours: a precision, and ``-compiled`` behind it or not.
        batch_size: Jets of a step.
    """

    train: Path
    out: Path
    repeats: int
    variants: Sequence[str]
    batch_size: int

    @property
    def trainings(self) -> list[Variant]:
        """For each precision that is asked for salt-ml's training, and ours after it."""
        found: list[Variant] = []
        for precision in PRECISIONS:
            mine = [v for v in self.variants if v.removesuffix("-compiled") == precision]
            found += [Variant(False, precision)] if mine else []
            found += [Variant(True, precision, compiled=v.endswith("-compiled")) for v in mine]
        return found

    def job(self, folder: Path, epochs: int, steps: int, **hooks: Path) -> Job:
        """A training into a folder, with callbacks of hooks/clock.py that write the given files."""
        return Job(
            train=self.train,
            out=folder,
            num_train=steps * self.batch_size,
            num_val=VALIDATION_STEPS * self.batch_size,
            epochs=epochs,
            batch_size=self.batch_size,
            callbacks={f"clock.{name}": {"out": str(path)} for name, path in hooks.items()},
        )


@dataclass(frozen=True)
class Training:
    """What one training showed, without its first epoch.

    Args:
        step: Jets per second while it trains, from the begin of the first step of an epoch to the end of the last.
        epoch: Jets per second of whole epochs, validation and checkpoint included.
        between: Share of the time between steps, in which it waits for data among other things.
        parameters: Weights that it trains.
        threads: Threads of a matrix product.
        usage: Time of the command.
    """

    step: float
    epoch: float
    between: float
    parameters: int
    threads: int
    usage: Usage


@dataclass(frozen=True)
class Round:
    """What was measured next to each other.

    Args:
        trainings: One of each variant.
        peaks: Operations per second of matrix products by precision, and bytes per second of a copy.
    """

    trainings: Mapping[Variant, Training]
    peaks: Mapping[str, float]


def step(settings: Settings) -> str:
    """Step and epoch of all trainings, with the peaks of the machine measured in each round."""
    rounds = []
    for number in range(settings.repeats):
        found: dict[Variant, Training] = {}
        # Every second round runs backwards, so that a drift of the machine favours nobody.
        for variant in settings.trainings[:: 1 if number % 2 == 0 else -1]:
            found[variant] = train(settings, variant, settings.out / f"round-{number + 1}" / variant.name)
            print(f"  round {number + 1}: {variant.name:20} {_line(found[variant])}", flush=True)
        rounds.append(Round(found, peaks(settings.out / f"round-{number + 1}")))
    theirs = Variant(False, settings.trainings[0].precision)
    flops = {side: count(settings, side) for side in (COUNTED, theirs)}
    return report(settings, rounds, flops[COUNTED], flops[theirs])


def memory(settings: Settings) -> str:
    """Peak memory of trainings, all processes of each together."""
    found: dict[Variant, list[float]] = {variant: [] for variant in settings.trainings}
    for number in range((settings.repeats + 1) // 2):
        for variant, peaks_ in found.items():
            folder = settings.out / f"memory-{number + 1}" / variant.name
            command = fit_command(variant, settings.job(folder, 1, MEMORY_STEPS))
            peaks_.append(run(command, folder / "fit.log", watch=True).peak / 1e9)
            print(f"  round {number + 1}: {variant.name:20} {peaks_[-1]:6.2f} GB", flush=True)
    rows = [
        (v.name, Spread.of(values), ratios(values, found[Variant(False, v.precision)]) if v.ours else "")
        for v, values in found.items()
    ]
    return markdown(("training", "peak memory, GB", f"of {PEER}'s"), rows)


def train(settings: Settings, variant: Variant, folder: Path) -> Training:
    """Runs one training and reads its clock."""
    clock = folder / "clock.json"
    job = settings.job(folder, EPOCHS[variant.ours], STEPS, Clock=clock)
    usage = run(fit_command(variant, job), folder / "fit.log", HOOKS)
    found = json.loads(clock.read_text())
    later = found["epochs"][1:]
    inside = sum(epoch["steps"][-1][1] - epoch["steps"][0][0] for epoch in later)
    busy = sum(end - begin for epoch in later for begin, end in epoch["steps"])
    whole = sum(epoch["end"] - epoch["begin"] for epoch in later)
    jets = len(later) * job.num_train
    return Training(jets / inside, jets / whole, 1 - busy / inside, found["parameters"], found["threads"], usage)


def count(settings: Settings, variant: Variant) -> float:
    """Floating-point operations of the matrix products of a step, in the mean over a few."""
    folder = settings.out / "arithmetic" / variant.name
    flops = folder / "flops.json"
    run(fit_command(variant, settings.job(folder, 1, COUNTED_STEPS, Arithmetic=flops)), folder / "fit.log", WATCHED)
    counts = json.loads(flops.read_text())
    return float(sum(counts) / len(counts))


def peaks(folder: Path) -> Mapping[str, float]:
    """What the machine can do now."""
    log = folder / "peaks.json"
    run([ours("python"), HERE / "peaks.py"], log)
    found: dict[str, float] = json.loads(log.read_text())
    return found


def report(settings: Settings, rounds: Sequence[Round], flops: float, their_flops: float) -> str:
    """The table of the trainings and what one must know to read it."""
    variants = list(settings.trainings)
    heads = (
        "training",
        "jets/s",
        f"times {PEER}",
        "epoch, jets/s",
        f"times {PEER}",
        "of the matrix-product floor",
    )
    rows = [(v.name, *_cells(v, rounds, flops / settings.batch_size)) for v in variants]
    some = rounds[0].trainings
    sizes = {v.ours: some[v].parameters for v in variants}
    between = (f"{v.name} {100 * Spread.of([r.trainings[v].between for r in rounds]).middle:.1f}%" for v in variants)
    commands = (f"{v.name} {Spread.of([r.trainings[v].usage.wall for r in rounds])}" for v in variants)
    floors = (
        f"{name} {Spread.of([r.peaks[key] / 1e9 for r in rounds])} {unit}"
        for name, key, unit in (
            ("matrix product in fp32", "fp32", "GFLOP/s"),
            ("in bf16", "bf16", "GFLOP/s"),
            ("copy of memory", "copy", "GB/s, read and written"),
        )
    )
    notes = (
        f"Steps of {settings.batch_size} jets on {some[variants[0]].threads} threads, {len(rounds)} rounds. "
        f"Parameters: {sizes[True]} ours, {sizes[False]} {PEER}'s. "
        f"Matrix products of a step: {flops / 1e9:.1f} GFLOP ours, {their_flops / 1e9:.1f} GFLOP {PEER}'s.",
        f"Peaks of the machine in the same rounds: {'; '.join(floors)}.",
        f"Share of the time between steps, in which data are waited for among other things: {'; '.join(between)}.",
        f"Seconds of whole commands, {EPOCHS[True]} epochs of ours, {EPOCHS[False]} of {PEER}: {'; '.join(commands)}.",
    )
    return "\n\n".join([markdown(heads, rows), *notes])


def profile(settings: Settings) -> str:
    """What is left of a step: the operators that take most of the time, for each way to train ours."""
    texts = []
    for variant in settings.trainings:
        if variant.ours:
            folder = settings.out / "profile" / variant.name
            table = folder / "table.txt"
            run(fit_command(variant, settings.job(folder, 2, STEPS, Profile=table)), folder / "fit.log", WATCHED)
            texts.append(f"{variant.name}, {STEPS} steps on one thread:\n\n```text\n{table.read_text().rstrip()}\n```")
    return "\n\n".join(texts)


def _cells(variant: Variant, rounds: Sequence[Round], flops_per_jet: float) -> list[object]:
    mine = [r.trainings[variant] for r in rounds]
    rival = [r.trainings[Variant(False, variant.precision)] for r in rounds]
    share = [100 * t.step * flops_per_jet / r.peaks[variant.precision] for t, r in zip(mine, rounds, strict=True)]
    return [
        Spread.of([t.step for t in mine]),
        ratios([t.step for t in mine], [t.step for t in rival]) if variant.ours else "",
        Spread.of([t.epoch for t in mine]),
        ratios([t.epoch for t in mine], [t.epoch for t in rival]) if variant.ours else "",
        f"{Spread.of(share)} %" if variant.ours else "",
    ]


def _line(found: Training) -> str:
    return f"{found.step:7.0f} jets/s, epoch {found.epoch:7.0f} jets/s, {found.usage.wall:4.0f} s in all"
