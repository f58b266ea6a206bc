"""How classes are written and ordered."""

from collections.abc import Iterable

from salt.inputs import SHORT_NAMES

NAMES = {"bjets": "b-jets", "cjets": "c-jets", "ujets": "light jets", "taujets": "tau-jets"}


def flavour_name(flavour: str) -> str:
    """How a class of jets is written."""
    return NAMES.get(flavour, flavour)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Classes without repetition, the flavours of jets in the field's order before all others."""
    usual = list(SHORT_NAMES)
    found = dict.fromkeys(names)
    return tuple(sorted(found, key=lambda name: usual.index(name) if name in usual else len(usual)))
