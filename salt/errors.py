"""Errors that a user can cause, and the one way in which their messages are worded."""

from collections.abc import Iterable
from difflib import get_close_matches


class SaltError(Exception):
    """A mistake in a config, a file or a command line.

    The message is one to three plain lines that name the culprit (file, input, variable) and what to do. The
    command prints it without a traceback and exits with code 1; any other exception is a bug of ours.
    """


class ConfigError(SaltError):
    """A config, flag or environment name that cannot be right, whatever the files hold."""


class DataError(SaltError):
    """A file that is missing, broken, or disagrees with the config."""


def unknown(kind: str, name: object, known: Iterable[object], where: str = "") -> str:
    """Words the message for a name that does not exist, nearest known names first.

    Args:
        kind: What is named, such as ``"variable"``.
        name: The name that was given.
        known: All names that exist.
        where: Where they exist, such as ``"in dataset 'tracks' of a.h5"``.

    Returns:
        For example ``unknown variable 'ptt' in dataset 'jets' of a.h5; nearest: pt, eta``.
    """
    names = [str(k) for k in known]
    near = get_close_matches(str(name), names, n=3, cutoff=0.5)
    place = f" {where}" if where else ""
    if near:
        return f"unknown {kind} '{name}'{place}; nearest: {', '.join(near)}"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"unknown {kind} '{name}'{place}; known: {shown or 'none'}"
