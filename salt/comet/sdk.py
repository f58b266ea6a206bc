"""The few things that are asked of Comet's SDK, for an experiment that is online or goes into an archive."""

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from salt.comet.content import Settings, Values
from salt.comet.drawing import draw

SETTINGS = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_LOGGING_CONSOLE": "CRITICAL",
    "COMET_DISPLAY_SUMMARY_LEVEL": "0",
    "COMET_ERROR_TRACKING_ENABLE": "0",
    "COMET_DISABLE_ANNOUNCEMENT": "1",
    # What its own copy of all messages is for, the run folder does.
    "COMET_FALLBACK_STREAMER_FALLBACK_TO_OFFLINE_MIN_BACKEND_VERSION": "999.0.0",
}
"""The SDK reads these when it is imported."""

UNASKED: Mapping[str, Any] = {
    "log_code": False,
    "log_graph": False,
    "parse_args": False,
    "log_git_metadata": False,
    "log_git_patch": False,
    "auto_output_logging": False,
    "auto_param_logging": False,
    "auto_metric_logging": False,
    "auto_log_co2": False,
}
"""The SDK would look for these in its own process, of which nobody wants to know; options of the user win."""

ANSWER = 1.5
"""Seconds in which a server that lives answers while the training waits for it."""
PATIENCE = 10.0
"""Seconds that it has while the training goes on."""

_T = TypeVar("_T")


def within(seconds: float, act: Callable[[], _T], hurry: threading.Event | None = None) -> _T:
    """The result of a function that may never return.

    Args:
        seconds: How long it has.
        act: The function.
        hurry: Once this is set, it has no more than `ANSWER` seconds.

    Raises:
        TimeoutError: It has not returned in time; its thread is left behind.
    """
    result: list[_T] = []
    failure: list[Exception] = []
    done = hurry or threading.Event()
    mine = threading.Event()

    def run() -> None:
        try:
            result.append(act())
        except Exception as error:
            failure.append(error)
        mine.set()

    threading.Thread(target=run, daemon=True).start()
    end = time.monotonic() + seconds
    while not mine.wait(0.05) and time.monotonic() < end:
        if done.is_set():
            end = min(end, time.monotonic() + ANSWER)
            done = threading.Event()
    if failure:
        raise failure[0]
    if not result:
        raise TimeoutError("no answer")
    return result[0]


def prepare() -> None:
    """Begins to import the SDK, which takes seconds."""
    os.environ.update(SETTINGS)
    threading.Thread(target=lambda: import_module("comet_ml"), daemon=True).start()


def has_key() -> bool:
    """Whether there is an API key: in the environment, or in a file that ``comet login`` has written."""
    return bool(_setting("api_key"))


def _setting(name: str) -> str:
    """A setting of Comet from where the SDK looks for it; empty if it is not there."""
    if found := os.environ.get(f"COMET_{name.upper()}"):
        return found
    for place in (os.environ.get("COMET_CONFIG"), "~/.comet.config", ".comet.config"):
        parser = ConfigParser(interpolation=None)
        with suppress(OSError, ConfigParserError, UnicodeDecodeError):
            parser.read(Path(place).expanduser() if place else [])
            if found := parser.get("comet", name, fallback=""):
                return found
    return ""


def answers(seconds: float = ANSWER, hurry: threading.Event | None = None) -> str | None:
    """Asks the server whether it is there.

    Args:
        seconds: How long it has.
        hurry: Once this is set, it has no more than `ANSWER` seconds.

    Returns:
        None if it is, else what is wrong.
    """
    import requests

    base = _setting("url_override") or "https://www.comet.com/clientlib/"

    def ask() -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Whether anybody is there; nothing is told to them yet.
            requests.get(f"{base.rstrip('/')}/isAlive/ping", timeout=seconds, verify=False)
        return True

    try:
        within(seconds, ask, hurry)
    except (TimeoutError, requests.Timeout):
        return "no answer"
    except requests.RequestException as error:
        return "no connection" if isinstance(error, requests.ConnectionError) else type(error).__name__
    return None


class Errors(logging.Handler):
    """Keeps the last error that the SDK logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""
        logging.getLogger("comet_ml").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps its first line, without the key."""
        text = record.getMessage().strip()
        self.last = without_key(text.splitlines()[0] if text else "")


def without_key(text: str) -> str:
    """A text in which the key has been made unreadable."""
    key = _setting("api_key")
    return text.replace(key, "***") if key else text


class Experiment:
    """An experiment at Comet, or one that becomes an archive.

    Args:
        settings: Which one, and how it looks.
        archive: The folder for its archive; None for an experiment that is online.

    Raises:
        ConnectionError: Comet does not take it.
    """

    def __init__(self, settings: Settings, archive: Path | None = None) -> None:
        os.environ.update(SETTINGS)
        import comet_ml

        self._refused = 0
        errors = Errors()
        look: dict[str, Any] = {"name": settings.name, "tags": list(settings.tags)}
        if archive is not None:
            # The machine that writes it need not be the one that has trained.
            look |= {"offline_directory": str(archive), "log_env_details": False}
        config = comet_ml.ExperimentConfig(**{**UNASKED, **settings.options, **look})
        try:
            self._experiment = comet_ml.start(
                workspace=settings.workspace,
                project_name=settings.project,
                experiment_key=settings.experiment_key,
                mode="get_or_create",
                online=archive is None,
                experiment_config=config,
            )
        except comet_ml.exceptions.InvalidAPIKey:
            raise ConnectionError("it does not know the API key") from None
        except Exception as error:
            text = str(error).strip().splitlines()
            raise ConnectionError(without_key(text[0] if text else type(error).__name__)) from None
        if not self._experiment.alive:
            raise ConnectionError(errors.last or "it does not take the experiment")

    @property
    def url(self) -> str:
        """Where it is looked at."""
        return str(self._experiment.url)

    def log_run(self, parameters: Mapping[str, str], files: Sequence[Path], attempt: int) -> None:
        """Tells the config, value by value, and hands in files."""
        self._experiment.log_parameters(dict(parameters))
        self._experiment.log_other("attempt", attempt)
        for path in files:
            self._experiment.log_asset(str(path), file_name=path.name, overwrite=True)

    def log_values(self, values: Values) -> None:
        """Tells what was logged at a step."""
        self._experiment.log_metrics(dict(values.metrics), step=values.step, epoch=values.epoch)

    def log_numbers(self, figure: Mapping[str, Any]) -> None:
        """Hands in the numbers of a confusion matrix or a curve."""
        name, step, epoch = figure["name"], figure["step"], figure["epoch"]
        if figure["kind"] == "confusion":
            self._experiment.log_confusion_matrix(
                matrix=figure["counts"],
                labels=figure["classes"],
                title=name,
                row_label="true class",
                column_label="most probable class",
                max_categories=len(figure["classes"]),
                file_name=f"{name.replace('/', '_')}-{step}.json",
                step=step,
                epoch=epoch,
            )
        else:
            for line in figure["lines"]:
                known = [(x, y) for x, y in zip(line["x"], line["y"], strict=True) if y is not None]
                x, y = [x for x, _ in known], [y for _, y in known]
                self._experiment.log_curve(f"{name}/{line['name']}", x, y, step=step)

    def log_picture(self, figure: Mapping[str, Any]) -> None:
        """Hands in a picture of a confusion matrix or a curve."""
        self._experiment.log_figure(figure["name"], draw(figure), step=figure["step"], format="png")

    @property
    def connected(self) -> bool:
        """Whether what has been told so far seems to arrive."""
        streamer = self._experiment.streamer
        return bool(streamer is not None and streamer.has_connection_to_server())

    def end(self) -> bool:
        """Waits until all of it has arrived, or is in the archive.

        Returns:
            Whether it has.
        """
        self._count_refused()
        # Its public `end` does not say how it went.
        return bool(self._experiment._on_end(wait=True)) and not self._refused

    def _count_refused(self) -> None:
        """Has the SDK count what was not delivered before it forgets; what a server refuses is no failure to it."""
        manager = getattr(self._experiment.streamer, "replay_manager", None)
        if manager is None:  # of an archive
            return
        forget = manager.close

        def close() -> None:
            if not manager.closed:
                # Of a parameter that changes, it sends the last value alone.
                undelivered = "SELECT COUNT(*) FROM messages WHERE message_type != 'parameter_msg'"
                ((self._refused,),) = manager.conn.execute(undelivered)
            forget()

        manager.close = close
