"""What a training takes, as far as its first steps tell."""

from collections.abc import Iterator
from math import ceil

import torch

from salt.callbacks.memory import GB
from salt.cli.checked import Checked
from salt.commands.check_places import Finding
from salt.data.space import in_words, memory_left
from salt.data.workers import advised_workers, usable_cores, worker_doubts

MOST = 0.9
"""A training should not take a larger share of the memory than this."""


def workers(found: Checked) -> Iterator[Finding]:
    """How many processes read, and whether that looks wrong."""
    if found.data is None:
        return
    cores, asked = usable_cores(), found.asked_workers
    doubts = [] if asked is None else worker_doubts(asked, cores, found.devices.each or 1)
    for doubt in doubts:
        yield Finding("warning", doubt)
    if not doubts:
        derived = " (derived)" if asked is None else ""
        number = f"data.num_workers: {_readers(found)}{derived}"
        yield Finding("ok", f"{number} on {cores} core{'s' * (cores > 1)} of this machine")


def pace(found: Checked) -> Iterator[Finding]:
    """How long an epoch takes."""
    taken, data = found.trialled, found.data
    if taken is None or data is None:
        return
    devices = (found.devices.each or 1) * found.devices.nodes
    reading = taken.read_seconds / max(1, _readers(found))
    batches = ceil(taken.batches / devices)
    described = data.describe()
    validated = ceil(described["val"]["jets"] / (data.batch_size * devices)) if "val" in described else 0
    epoch = batches * max(taken.step_seconds, reading) + validated * taken.validation_seconds
    waits = "; it waits for data" if reading > taken.step_seconds else ""
    yield Finding(
        "ok",
        f"an epoch of {batches:,} steps takes about {_duration(epoch)}{_in_all(found, epoch)}: a step of "
        f"{data.batch_size:,} jets {_duration(taken.step_seconds)} on {_device(taken.device)}, reading them "
        f"{_duration(reading)}{waits}\nthat is an estimate from {taken.steps} steps" + _unlike(found, devices),
    )


def memory(found: Checked) -> Iterator[Finding]:
    """How much memory the first steps took."""
    taken = found.trialled
    if taken is None:
        return
    used = taken.memory * GB
    if taken.device.type == "cuda":
        total: float | None = float(torch.cuda.get_device_properties(taken.device).total_memory)
    else:
        left = memory_left()
        total = None if left is None else left + used
    of = "" if total is None else f" of {in_words(total)}"
    where = f"on {_device(taken.device)}, without processes that read"
    words = f"{taken.steps} steps took {in_words(used)} of memory{of} {where}"
    tight = total is not None and used > MOST * total
    advice = "; a smaller data.batch_size or data.constituents_per_step takes less" if tight else ""
    yield Finding("warning" if tight else "ok", words + advice)


def _readers(found: Checked) -> int:
    if found.asked_workers is not None:
        return found.asked_workers
    return advised_workers(usable_cores(), found.devices.each or 1)


def _in_all(found: Checked, epoch: float) -> str:
    epochs = (found.trainer or {}).get("max_epochs")
    if isinstance(epochs, str) and epochs.isdigit():
        epochs = int(epochs)
    return f", all {epochs} about {_duration(epoch * epochs)}" if isinstance(epochs, int) and epochs > 1 else ""


def _unlike(found: Checked, devices: int) -> str:
    """What will be otherwise than in the steps that were taken."""
    differences = [f"on one device of {devices}"] if devices > 1 else []
    differences += ["without compiling"] if found.compiles else []
    return f" {', '.join(differences)}" if differences else ""


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type.upper()} with {threads} thread{'s' * (threads > 1)}"


def _duration(seconds: float) -> str:
    """Rounded, such as ``120 ms``, ``3.4 s``, ``12 min`` or ``5.1 h``."""
    units = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
    size, unit = next((each for each in units if seconds >= each[0]), units[-1])
    value = seconds / size
    return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"
