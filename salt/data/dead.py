"""Data from which nothing can be learned: variables that hardly change, labels and classes that do not occur."""

from collections.abc import Iterator

from salt.data.source import Source
from salt.data.survey import Survey
from salt.inputs import JETS, Target

MOSTLY = 0.99
"""A variable with the same value in so large a share of its entries tells hardly anything."""

SELDOM = 0.01
"""A label that so few have is hardly learned."""


def dead_data(train: Source, found: Survey, val: Source | None, found_val: Survey | None) -> Iterator[str]:
    """One sentence for each variable, label and class that is of no use, with its file.

    Args:
        train: The jets to train on.
        found: What is known of them.
        val: Those to validate on, if any.
        found_val: What is known of them.
    """
    yield from _variables(train, found)
    yield from _numbers(train, found)
    yield from _classes(train, found, found_val)
    if val is not None and found_val is not None:
        yield from _numbers(val, found_val)
        yield from _not_validated(val, found, found_val)


def _variables(source: Source, found: Survey) -> Iterator[str]:
    for name, variables in found.measures.items():
        for variable, measure in variables.items():
            if measure.usual is None or measure.usual_count < MOSTLY * measure.count:
                continue
            share = "all" if measure.usual_count == measure.count else _percent(measure.usual_count, measure.count)
            yield (
                f"{name}.{variable} is {measure.usual:g} for {share} of the {measure.count} {_things(name)} that were "
                f"looked at in {source.where}; it can teach hardly anything"
            )


def _numbers(source: Source, found: Survey) -> Iterator[str]:
    for target, measure in found.numbers.items():
        total = _total(found, target.input)
        if total and measure.count < SELDOM * total:
            share = "none" if measure.count == 0 else f"only {_percent(measure.count, total)}"
            yield (
                f"label {target.input}.{target.variable} is there for {share} of the {total} "
                f"{_things(target.input)} that were looked at in {source.where}"
            )


def _classes(train: Source, found: Survey, found_val: Survey | None) -> Iterator[str]:
    for target, name, count in _counts(found):
        if count == 0:
            validated = found_val is not None and dict(_of_label(found_val, target)).get(name, 0) > 0
            only = ", but it does among those to validate on" if validated else ""
            yield f"{_class(target, name, found, train)}{only}; it cannot be learned"


def _not_validated(val: Source, found: Survey, found_val: Survey) -> Iterator[str]:
    for target, name, count in _counts(found_val):
        if count == 0 and dict(_of_label(found, target)).get(name, 0) > 0:
            yield f"{_class(target, name, found_val, val)}; how well it is learned is not seen"


def _class(target: Target, name: str, found: Survey, source: Source) -> str:
    return (
        f"class '{name}' of {target.input}.{target.variable} never occurs among the {_total(found, target.input)} "
        f"{_things(target.input)} that were looked at in {source.where}"
    )


def _counts(found: Survey) -> Iterator[tuple[Target, str, int]]:
    for target in found.class_counts:
        yield from ((target, name, count) for name, count in _of_label(found, target))


def _of_label(found: Survey, target: Target) -> Iterator[tuple[str, int]]:
    return zip(target.classes, found.class_counts.get(target, (0,) * len(target.classes)), strict=True)


def _total(found: Survey, name: str) -> int:
    """How many jets, or constituents of an input, were looked at."""
    return found.num_jets if name == JETS else next(iter(found.measures[name].values())).count


def _things(name: str) -> str:
    return "jets" if name == JETS else f"constituents of '{name}'"


def _percent(part: int, total: int) -> str:
    """Never rounded to all of them."""
    return f"{min(100 * part / total, 99.99):.4g}%"
