"""The best model of a training under the name of the model, once the training has ended."""

import logging
import os
import shutil
from pathlib import Path

from salt.files import complete_or_absent

log = logging.getLogger(__name__)


def give_name(checkpoint: Path, target: Path) -> None:
    """Gives a checkpoint a second name, as a link where the file system has them, else as a copy.

    What is at `target` is replaced at once, or stays as it is: after an error, of which a warning tells.

    Args:
        checkpoint: The checkpoint; it may be replaced or removed later, which does not change `target`.
        target: Its second name.
    """
    try:
        with complete_or_absent(target) as beside:
            try:
                os.link(checkpoint, beside)
            except OSError:
                shutil.copyfile(checkpoint, beside)
    except OSError as error:
        log.warning("cannot write %s: %s; the best model is %s", target, error.strerror or error, checkpoint)
