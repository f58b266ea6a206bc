"""What a config says under ``run``: which run is gone on with, and what a new one begins from."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WarmStart:
    """What a run begins from, and what of it stays as it is for a while.

    Args:
        checkpoint: The checkpoint to begin from: a file, or a run by its id or folder, of which the best checkpoint is
            taken, or the last where `weights_only` is false. Together with `run_id` or `fork_run_id`: a checkpoint of
            that run by its name, to go on from instead of the last.
        epoch: So many epochs count as finished when a training begins with weights alone: learning rate, order of the
            jets and all else that goes by epochs go on from there, and trainer.max_epochs counts them. Nothing given:
            none. A full state knows its own number, from which another one here is an error.
        weights_only: Take weights alone, and begin at step 0 with a new optimiser; else the full state.
        include: Names or patterns (`*`) of what to load, such as `encoder` or `embed.*`.
        exclude: Names or patterns of what not to load, such as `tasks`.
        freeze: Names or patterns of parameters that do not change; nothing given with `freeze_epochs`: all that were
            loaded.
        freeze_epochs: For how many epochs from the first one trained they do not change; null for the whole training.
    """

    checkpoint: str | None = None
    epoch: int | None = None
    weights_only: bool = True
    include: list[str] = field(default_factory=lambda: ["*"])
    exclude: list[str] = field(default_factory=list)
    freeze: list[str] = field(default_factory=list)
    freeze_epochs: int | None = None

    @property
    def freezes(self) -> bool:
        """Whether anything is to stay as it is."""
        return bool(self.freeze) or self.freeze_epochs is not None

    @property
    def thaws(self) -> int | None:
        """The epoch with which what is frozen begins to change; None for none."""
        return None if self.freeze_epochs is None else self.freeze_epochs + (self.epoch or 0)


SOURCE_KEYS = ("checkpoint", "epoch", "weights_only", "include", "exclude")
"""The options of a warm start that say what is loaded; they count once, when a run begins."""

SOURCE_OPTIONS = frozenset(f"run.warm_start.{key}" for key in SOURCE_KEYS)


@dataclass(frozen=True)
class RunOptions:
    """Which run a training goes on with, or begins from.

    Runs are named by their id, which is the name of their folder, or by its path.

    Args:
        run_id: Go on in this run, from its last checkpoint: a new attempt in the same folder. Its stored config lies
            beneath what this command asks for.
        fork_run_id: Begin a new run from the last state of this one, which stays as it is. Its stored config lies
            beneath what this command asks for.
        warm_start: Begin a new run with the weights of a checkpoint.
    """

    run_id: str | None = None
    fork_run_id: str | None = None
    warm_start: WarmStart = field(default_factory=WarmStart)
