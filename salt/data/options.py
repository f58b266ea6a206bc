"""Whether the options of the data go together."""

from collections.abc import Mapping

from salt.errors import ConfigError, unknown


def check_limits(
    limits: Mapping[str, int], batch_size: int, constituents_per_step: int | None, num_workers: int | None
) -> None:
    """ConfigError for a number that is too small.

    Args:
        limits: For ``train``, ``val`` and ``test`` how many jets are asked for.
        batch_size: Jets in a batch.
        constituents_per_step: Constituents that are trained on at once.
        num_workers: Processes that read.
    """
    for part, value in limits.items():
        if value < 1 and value != -1:
            raise ConfigError(f"data.num_{part} is {value}; it must be at least 1, or -1 for all jets")
    if batch_size < 1:
        raise ConfigError(f"data.batch_size is {batch_size}; it must be at least 1")
    if constituents_per_step is not None and constituents_per_step < 1:
        raise ConfigError(f"data.constituents_per_step is {constituents_per_step}; it must be at least 1, or null")
    if num_workers is not None and num_workers < 0:
        raise ConfigError(f"data.num_workers is {num_workers}; it must be 0 or more, or null")


def check_reading(stage: str, folder: str | None, shuffle: str, batched_read: bool) -> None:
    """ConfigError for a way to stage or to shuffle that is unknown or has no effect."""
    if stage not in ("copy", "packed"):
        raise ConfigError(unknown("data.stage", stage, ("copy", "packed")))
    if stage == "packed" and folder is None:
        raise ConfigError(
            "data.stage: packed has no effect without a folder for it; give --data.move_files_temp, such as "
            "/dev/shm/$USER, or leave it out"
        )
    if shuffle not in ("blocks", "weak"):
        raise ConfigError(unknown("data.shuffle", shuffle, ("blocks", "weak")))
    if shuffle == "weak" and not batched_read:
        raise ConfigError("data.shuffle: weak has no effect with data.batched_read: false; leave one of them out")
