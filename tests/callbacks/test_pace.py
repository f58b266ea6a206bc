"""Jets per second, and how often it is said how a training stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salt.callbacks.main_metrics import main_metrics
from salt.callbacks.pace import PaceClock, validations_in
from salt.callbacks.progress_lines import FIRST, until_next
from salt.callbacks.status import Status, span


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(1, 1000), st.floats(0.01, 10), st.floats(0, 1)),
        st.tuples(st.just("validation"), st.just(0), st.floats(0.01, 100), st.just(0.0)),
    ),
    min_size=1,
)


@given(EVENTS)
def test_the_pace_is_that_of_a_hand_count_without_validations(events: list[tuple[str, int, float, float]]) -> None:
    time, waited = Time(), 7.0
    clock = PaceClock(time)
    clock.run(waited)
    half = clock.read(waited)
    for number, (kind, jets, seconds, share) in enumerate(events):
        if kind == "validation":
            clock.pause()
            clock.pause()
        time.now += seconds
        if kind == "step":
            waited += share * seconds
            clock.step(jets)
        clock.run(waited)
        if number == len(events) // 2:
            half = clock.read(waited)
    steps = [event for event in events if event[0] == "step"]
    seconds = sum(event[2] for event in steps)
    whole = clock.read(waited)
    assert (whole.jets, whole.steps) == (sum(event[1] for event in steps), len(steps))
    assert whole.seconds == pytest.approx(seconds, abs=1e-6)
    assert whole.waited == pytest.approx(sum(event[2] * event[3] for event in steps), abs=1e-6)
    rest = whole.since(half)
    after = [event for event in events[len(events) // 2 + 1 :] if event[0] == "step"]
    assert rest.jets == sum(event[1] for event in after)
    if after:
        assert rest.jets_per_second == pytest.approx(rest.jets / sum(event[2] for event in after), rel=1e-6)
    assert 0 <= whole.wait_share <= 1


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(300, 4, 5), (3600, 10, 40), (36_000, 10, 60), (360_000, 10, 80)]
)
def test_a_long_epoch_has_ten_lines_and_not_hundreds(seconds: float, least: int, most: int) -> None:
    passed, lines = FIRST, 0
    while passed < seconds:
        lines += 1
        left = seconds - passed
        status = Status("epoch 1/1", round(1e6 * passed / seconds), 10**6, 1.0, left=left)
        passed += until_next(passed, status)
    assert least <= lines <= most


def test_time_spans_and_statuses_in_words() -> None:
    assert [span(s) for s in (0, 59.6, 3599, 3600, 90_061)] == ["0:00", "1:00", "59:59", "1:00:00", "25:01:01"]
    status = Status("epoch 3/20", 120, 500, 21_234.6, 0.61234, 4.25e-4, 0.023, 192, 3753)
    assert str(status) == (
        "epoch 3/20, batch 120/500 (24%): loss 0.6123, learning rate 4.25e-04, 21,235 jets/s, waiting for data 2%, "
        "3:12 left, 1:02:33 in all"
    )
    assert str(Status("test", 3, None, 10.0)) == "test, batch 3/?: 10 jets/s"


def test_the_line_of_an_epoch_has_one_metric_for_each_task_and_a_rejection_for_each_background() -> None:
    jets = {f"val/jets/rejection_{b}_at_{e}": float(e) for b in ("cjets", "ujets") for e in (60, 70, 77)}
    values = {
        "val/loss": 1.0,
        "val/jets/loss": 1.0,
        "val/jets/weighted_loss": 1.0,
        "val/jets/auc": 0.9,
        "val/jets/accuracy": 0.8,
        **jets,
        "val/own/strange": 3.0,
        "val/own/loss": 2.0,
        "val/nothing/loss": 2.0,
        "train/jets/accuracy": 0.1,
    }
    assert main_metrics(values, ["jets", "own", "nothing"]) == {
        "jets": {"accuracy": 0.8, "rejection_cjets_at_70": 70.0, "rejection_ujets_at_70": 70.0},
        "own": {"strange": 3.0},
    }


@pytest.mark.parametrize(
    ("steps", "every", "epochs", "number"),
    [
        (300, 100, 1, 3),
        (201, 100, 1, 3),
        (1, 100, 1, 1),
        (200, 25, 1, 8),
        (300, None, 1, 3),
        (400, 100, 2, 2),
        (400, 150, None, 3),
    ],
)
def test_validations_that_are_to_come(steps: int, every: int | None, epochs: int | None, number: int) -> None:
    assert validations_in(steps, 100, every, epochs) == number
