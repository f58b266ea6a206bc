"""Conditions on the variables of jets and constituents, such as ``abs(eta) < 2.5``."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salt.data.reader import Array
from salt.errors import ConfigError

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
PATTERN = re.compile(
    rf"\s*(?:(?P<abs>abs)\s*\(\s*(?P<inner>\w+)\s*\)|(?P<plain>\w+))\s*"
    rf"(?:(?P<op><=|>=|==|!=|<|>)\s*(?P<number>{NUMBER})"
    rf"|(?P<membership>(?:not\s+)?in)\s*\[\s*(?P<numbers>{NUMBER}(?:\s*,\s*{NUMBER})*)\s*\])\s*"
)
COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Condition:
    """One condition on one variable.

    Args:
        text: As the user wrote it.
        variable: The variable.
        absolute: Whether its absolute value is meant.
        op: One of ``< <= > >= == != in notin``.
        numbers: What it is compared with; one number but for ``in`` and ``notin``.
    """

    text: str
    variable: str
    absolute: bool
    op: str
    numbers: tuple[int | float, ...]

    def __call__(self, records: Array) -> Array:
        """For each record whether it passes."""
        values = records[self.variable]
        if self.absolute:  # In int8 the absolute value of -128 would be -128.
            values = np.abs(values.astype(np.int64) if values.dtype.kind == "i" else values)
        if self.op in COMPARE:
            with np.errstate(over="ignore"):
                mask: Array = COMPARE[self.op](values, self.numbers[0])
            return mask
        member = np.zeros(values.shape, dtype=bool)
        for number in self.numbers:
            member |= values == number
        return ~member if self.op == "notin" else member


def parse(text: str, where: str) -> Condition:
    """Reads a condition: ``variable op number`` or ``variable [not] in [numbers]``, also of ``abs(variable)``.

    Args:
        text: The condition.
        where: The option that holds it, for the message.

    Raises:
        ConfigError: It is none.
    """
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{where}: cannot read '{text}'\n"
            "write it like 'pt > 20000', 'abs(eta) < 2.5', 'charge == -1' or 'origin not in [0, 1]'"
        )
    membership = match["membership"]
    return Condition(
        text=text,
        variable=match["inner"] or match["plain"],
        absolute=match["abs"] is not None,
        op=match["op"] or ("notin" if membership.startswith("not") else "in"),
        numbers=tuple(_number(n) for n in (match["number"] or match["numbers"]).split(",")),
    )


def passes(conditions: Sequence[Condition], records: Array) -> Array:
    """For each record whether it passes all conditions."""
    mask = np.ones(records.shape, dtype=bool)
    for condition in conditions:
        mask &= condition(records)
    return mask


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
