"""Numbers of repeated measurements as medians with their spread, and tables of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some values."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """That of at least one value."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        """For example ``9.8 (9.1 to 10.4)``; a single value, or equal ones, alone."""
        if self.low == self.high:
            return digits(self.middle)
        return f"{digits(self.middle)} ({digits(self.low)} to {digits(self.high)})"


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """The spread of the ratios of values that were measured in pairs.

    Raises:
        ValueError: They are no pairs.
    """
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])


def digits(value: float) -> str:
    """Three significant digits, whole numbers from 100 on."""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; floats with three digits."""
    cells = [[digits(c) if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(heads), *cells]) for i in range(len(heads))]
    lines = [list(heads), ["-" * w for w in widths], *cells]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)
