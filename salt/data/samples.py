"""Samples to evaluate: each is a file, or parts of one behind a wildcard, and has predictions of its own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from salt.data.remote import is_url, place_in_url
from salt.errors import ConfigError


@dataclass(frozen=True)
class Sample:
    """One sample.

    Args:
        option: A path or URL, a wildcard over the parts of the sample, or ``sample:test``.
        name: What it is called in file names; different for all samples of a command.
    """

    option: str
    name: str


def find_samples(asked: str | Sequence[str] | None) -> tuple[Sample, ...]:
    """The samples that ``data.test_file`` means, in their order.

    They are called like their files; where two would have one name, the names of their folders stand before it.

    Args:
        asked: One of them, or a list.

    Raises:
        ConfigError: The list is empty, or names one twice.
    """
    if asked is None:
        return ()
    options = [asked] if isinstance(asked, str) else [str(each) for each in asked]
    if not options:
        raise ConfigError("data.test_file is an empty list; name at least one file")
    places = [_place(option) for option in options]
    for option, place in zip(options, places, strict=True):
        if places.count(place) > 1:
            raise ConfigError(f"data.test_file names {option} twice")
    depth = [1] * len(options)
    names = [_name(place, 1) for place in places]
    while repeated := [k for k, name in enumerate(names) if names.count(name) > 1 and depth[k] < len(places[k].parts)]:
        for k in repeated:
            depth[k] += 1
            names[k] = _name(places[k], depth[k])
    if len(set(names)) < len(names):
        raise ConfigError(f"data.test_file: the predictions of {', '.join(options)} would have one name; rename a file")
    return tuple(Sample(option, name) for option, name in zip(options, names, strict=True))


def _place(option: str) -> PurePath:
    return place_in_url(option) if is_url(option) else Path(option).expanduser().absolute()


def _name(place: PurePath, depth: int) -> str:
    """The last parts of a path as one word."""
    words = [*place.parts[-depth:-1], place.stem.replace("sample:", "sample_")]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "_".join(words))
