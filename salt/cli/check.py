"""All that can be known of a training before it begins."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from salt.cli.arguments import Arguments
from salt.cli.check_cli import CheckCLI
from salt.cli.checked import Checked, Devices
from salt.cli.memory import memory_advice
from salt.cli.run import START_VARIABLE, RunState
from salt.data.datamodule import JetDataModule
from salt.data.faults import find_faults, test_doubts
from salt.data.scan import scan
from salt.errors import ConfigError, SaltError
from salt.training import Tagger

SHOWN_JETS = 20_000
"""Jets of each part from which the tables are made where nothing is wrong."""


def check(arguments: Arguments) -> Checked:
    """Finds out all that can be known of a training before it begins.

    Args:
        arguments: The command line, as that of ``main fit``.
    """
    found, state = Checked([], [], Devices()), RunState()
    with tempfile.TemporaryDirectory(prefix="salt_check_") as scratch, _doubts_in(found.doubts):
        try:
            CheckCLI(arguments, state, found, Path(scratch))
        except SaltError as error:
            found.add(error)
        except MisconfigurationException as error:
            found.add(ConfigError(" ".join(str(error).split())[:400]))
        except Exception as error:
            advice = memory_advice(error, state.step)
            if advice is None:
                raise
            found.add(SaltError(advice))
        finally:
            os.environ.pop(START_VARIABLE, None)
        if found.data is not None and found.model is not None:
            _look_at_files(found, found.data, found.model)
        else:
            found.doubts.append("the files were not looked at, as the config says too little without its mistakes")
    return found


def _look_at_files(found: Checked, data: JetDataModule, model: Tagger) -> None:
    if data.statistics is not None:
        sources = {"train": data.files("fit")}
        if data.options["val"] is not None:
            sources["val"] = data.files("validate")
        found.scans = {part: scan(source, SHOWN_JETS) for part, source in sources.items()}
        for source in sources.values():
            source.close()
    else:
        faults = find_faults(data, model.targets)
        found.scans = faults.scans
        found.errors[:] = [e for e in found.errors if not any(_repeats(fault, e) for fault in faults.errors)]
        for error in faults.errors:
            found.add(error)
        found.doubts += [doubt for doubt in faults.doubts if doubt not in found.doubts]
    found.doubts += [doubt for doubt in test_doubts(data) if doubt not in found.doubts]


def _repeats(fault: SaltError, error: SaltError) -> bool:
    """Whether a fault says what an error does, and how many entries share it."""
    return str(fault).startswith(str(error).splitlines()[0])


@contextmanager
def _doubts_in(found: list[str]) -> Iterator[None]:
    """Collects what would be a warning of ``main fit``, which is then not shown."""
    logger = logging.getLogger("salt")
    before = logger.handlers[:]
    logger.handlers[:] = [_Collector(found)]
    try:
        yield
    finally:
        logger.handlers[:] = before


class _Collector(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if text not in self._found:
            self._found.append(text)
