"""How a training, a validation or a test stands, in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """What is shown while a Trainer works.

    Args:
        what: What is under way, such as ``epoch 3/20`` or ``validation``.
        done: Batches that are done.
        total: Batches there are; None where nobody knows.
        jets_per_second: Jets in a second over all devices.
        loss: The mean loss of the steps since it was told last; None where there is none.
        rate: The learning rate; None outside of a training.
        wait_share: The share of the time in which the training waits for data; None outside of a training.
        left: Seconds to the end of what is under way; None where nobody knows.
        left_in_all: Seconds to the end of the training, validations among them.
    """

    what: str
    done: int
    total: int | None
    jets_per_second: float
    loss: float | None = None
    rate: float | None = None
    wait_share: float | None = None
    left: float | None = None
    left_in_all: float | None = None

    @property
    def count(self) -> str:
        """Such as ``1200/5000``."""
        return f"{self.done}/{'?' if self.total is None else self.total}"

    @property
    def numbers(self) -> list[str]:
        """Loss, learning rate, jets per second and waiting, as far as they are known."""
        told = [
            None if self.loss is None else f"loss {self.loss:.4f}",
            None if self.rate is None else f"learning rate {self.rate:.2e}",
            f"{self.jets_per_second:,.0f} jets/s",
            None if self.wait_share is None else f"waiting for data {self.wait_share:.0%}",
        ]
        return [each for each in told if each is not None]

    @property
    def remaining(self) -> str:
        """Such as ``3:12 left, 1:02:33 in all``; empty where nobody knows."""
        told = []
        if self.left is not None:
            told.append(f"{span(self.left)} left")
        if self.left_in_all is not None:
            told.append(f"{span(self.left_in_all)} in all")
        return ", ".join(told)

    def __str__(self) -> str:
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        return f"{self.what}, batch {self.count}{share}: {', '.join([*self.numbers, *filter(None, [self.remaining])])}"


def span(seconds: float) -> str:
    """A time span as ``m:ss`` or ``h:mm:ss``."""
    whole = round(max(0.0, seconds))
    hours, rest = divmod(whole, 3600)
    minutes, last = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{last:02d}" if hours else f"{minutes}:{last:02d}"
