"""Where a training stands, written so that Lightning goes on exactly there.

Lightning counts what is ready, started, processed and completed, and saves the counts of whichever hook asks for a
checkpoint; on resume it guesses from them which hook that was, and for some repeats a step, leaves a validation out or
counts an epoch twice. So the counts are written as they are *between* two batches, in one of three states:

* an epoch is over, the next one has not begun;
* some batches of an epoch are done, and the validation after them, if there is one;
* the same, and that validation is still to come.
"""

from typing import Any

from lightning.pytorch import Trainer


def validation_follows(trainer: Trainer) -> bool:
    """Whether the batch that has just been trained is one after which there is a validation."""
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return bool(trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher))


def is_last_batch(trainer: Trainer) -> bool:
    """Whether the batch that has just been trained ends its epoch."""
    return bool(trainer.fit_loop.epoch_loop._num_ready_batches_reached())


def settle(trainer: Trainer, state: dict[str, Any], validated: bool) -> None:
    """Rewrites the counts of a checkpoint that is saved after a batch, in or after a validation, or after an epoch.

    Args:
        trainer: Which trains.
        state: The checkpoint's entry for the loop of a fit; it is changed.
        validated: Whether the validation that belongs to the last batch is over.
    """
    epochs, batches = state["epoch_progress"], state["epoch_loop.batch_progress"]
    validation = state["epoch_loop.val_loop.batch_progress"]
    ended = epochs["current"]["processed"] == epochs["current"]["ready"]
    over = ended and is_last_batch(trainer)
    repeated = not over and validation_follows(trainer)
    pending = repeated and not validated and not ended
    for count in (epochs["total"], epochs["current"]):
        _set(count, count["ready"], count["ready"] if over else count["ready"] - 1)
    for count in (batches["total"], batches["current"]):
        _set(count, count["ready"], count["ready"])
    for count in (validation["total"], validation["current"]):
        _set(count, count["completed"] + pending, count["completed"])
    if pending:
        _set(validation["current"], 1, 0)
    # The loggers' count of steps grows at the end of a batch, and once more where Lightning passes by the end of the
    # batch to make up for its validation, or to leave it out.
    state["epoch_loop.state_dict"]["_batches_that_stepped"] += int(not ended) - int(repeated)


def _set(count: dict[str, int], started: int, completed: int) -> None:
    count.update(ready=started, started=started, processed=completed, completed=completed)
