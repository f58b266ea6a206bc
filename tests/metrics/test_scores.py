"""Areas under ROC curves and rejections are those of scikit-learn and of a hand computation."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, roc_auc_score

from salt.errors import ConfigError
from salt.metrics import ConfusionMatrix, Rejections, Scores, Scratch, working_points
from salt.metrics.sample import Sample

CLASSES = ("bjets", "cjets", "ujets")


def jets(num: int, seed: int, digits: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities that know something of the labels, with ties if there are few digits."""
    rng = np.random.default_rng(seed)
    label = rng.integers(-1, len(CLASSES), num)
    logits = rng.normal(size=(num, len(CLASSES))) + 1.5 * (label[:, None] == np.arange(len(CLASSES)))
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return torch.tensor(probability.round(digits), dtype=torch.float32), torch.tensor(label)


@settings(deadline=None, max_examples=30)
@given(st.integers(30, 400), st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 5))
def test_areas_are_those_of_scikit_learn(num: int, seed: int, digits: int, batches: int) -> None:
    probability, label = jets(num, seed, digits)
    cuts = zip(probability.chunk(batches), label.chunk(batches), strict=True)
    found = Scores.merged([Scores.of(p, y, CLASSES) for p, y in cuts]).values()
    known = label >= 0
    for k, name in enumerate(CLASSES):
        expected = roc_auc_score(label[known] == k, probability[known, k])
        assert found[f"auc_{name}"] == pytest.approx(expected, abs=1e-12)
    assert found["auc"] == pytest.approx(sum(found[f"auc_{c}"] for c in CLASSES) / 3)


@settings(deadline=None, max_examples=20)
@given(st.integers(30, 400), st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 5))
def test_nothing_changes_in_a_file_or_on_the_way_to_another_process(num: int, seed: int, digits: int, n: int) -> None:
    probability, label = jets(num, seed, digits)
    points = working_points(Rejections(), "t", CLASSES)
    whole = Scores.of(probability, label, CLASSES, points)
    scratch = Scratch(Path())
    parts = [Scores.of(p, y, CLASSES, points) for p, y in zip(probability.chunk(n), label.chunk(n), strict=True)]
    kept = Scores.merged([*(part.spilt(scratch) for part in parts[1:]), parts[0]])
    assert kept.size == len(label.chunk(n)[0])
    sent = [pickle.loads(pickle.dumps(piece)) for piece in kept.pieces()]
    assert len(sent) == len(parts)
    for other in (kept, kept.spilt(scratch), Scores.merged(sent)):
        assert other.values() == pytest.approx(whole.values(), rel=1e-13, nan_ok=True)
        assert other.errors() == pytest.approx(whole.errors(), rel=1e-13, nan_ok=True)
        for name, figure in whole.figures().items():
            for ours, theirs in zip(other.figures()[name].lines, figure.lines, strict=True):
                np.testing.assert_array_equal(np.stack([ours.x, ours.y]), np.stack([theirs.x, theirs.y]))
    expected = roc_auc_score(label[label >= 0] == 0, probability[label >= 0, 0])
    assert kept.values()["auc_bjets"] == pytest.approx(expected, abs=1e-12)


def test_a_class_that_does_not_occur() -> None:
    probability, label = jets(1000, 0)
    label[label == 1] = -1
    found = Scores.of(probability, label, CLASSES, working_points(Rejections(), "t", CLASSES)).values()
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {"auc_cjets", *(name for name in found if name.startswith("rejection_cjets"))}
    assert found["auc"] == pytest.approx((found["auc_bjets"] + found["auc_ujets"]) / 2)


def test_scores_that_are_not_finite_are_worth_nothing() -> None:
    probability, label = jets(100, 0)
    probability[int((label == 0).nonzero()[0])] = torch.nan
    found = Scores.of(probability, label, CLASSES, working_points(Rejections(), "t", CLASSES))
    assert all(math.isnan(value) for value in found.values().values())
    assert not found.figures()


def test_rejections_by_hand() -> None:
    """Of 10 b-jets 7 lie at 0.8 and above, at which 2 of 5 c-jets pass and 1 of 4 light jets; ties pass."""
    own = [0.99, 0.98, 0.97, 0.96, 0.95, 0.9, 0.8, 0.5, 0.4, 0.3, 0.85, 0.8, 0.7, 0.1, 0.2, 0.8, 0.6, 0.5, 0.1]
    label = torch.tensor([0] * 10 + [1] * 5 + [2] * 4)
    b = torch.tensor(own)
    probability = torch.stack([b, (1 - b) / 2, (1 - b) / 2], 1)
    points = working_points(Rejections(efficiencies=[0.7, 0.105]), "t", CLASSES)
    found = Scores.of(probability, label, CLASSES, points).values()
    assert found["rejection_cjets_at_70"] == 2.5
    assert found["rejection_ujets_at_70"] == 4
    assert math.isnan(found["rejection_cjets_at_10p5"]), "none passes"


def test_the_fractions_decide_what_is_rejected() -> None:
    probability, label = jets(20_000, 1)
    values = []
    for c in (0.0, 0.2, 1.0):
        asked = Rejections(efficiencies=[0.6], fractions={"cjets": c, "ujets": 1 - c})
        values.append(Scores.of(probability, label, CLASSES, working_points(asked, "t", CLASSES)).values())
    cjets, ujets = ([v[f"rejection_{c}_at_60"] for v in values] for c in ("cjets", "ujets"))
    assert cjets == sorted(cjets)
    assert ujets == sorted(ujets, reverse=True)
    assert len(set(cjets)) == len(set(ujets)) == 3


def test_curves_go_through_the_values() -> None:
    probability, label = jets(5000, 2)
    scores = Scores.of(probability, label, CLASSES, working_points(Rejections(), "t", CLASSES))
    rejection, roc = scores.figures()["rejection"], scores.figures()["roc"]
    for line in rejection.lines:
        at = int(np.argmin(abs(line.x - 0.7)))
        assert line.y[at] == scores.values()[f"rejection_{line.name}_at_70"]
    for line in roc.lines:
        assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 1)
        assert np.trapezoid(line.y, line.x) == pytest.approx(scores.values()[f"auc_{line.name}"], abs=1e-4)


def test_confusions_are_those_of_scikit_learn() -> None:
    probability, label = jets(1000, 3)
    guess = probability.argmax(1)
    parts = zip(guess.chunk(7), label.chunk(7), strict=True)
    whole = ConfusionMatrix.merged([ConfusionMatrix.of(g, y, CLASSES) for g, y in parts])
    figure = whole.figures()["confusion"]
    known = label >= 0
    assert (figure.counts == confusion_matrix(label[known], guess[known])).all()
    assert figure.classes == CLASSES


@pytest.mark.parametrize("digits", [2, 7])
def test_bounded_memory_costs_next_to_nothing(digits: int) -> None:
    """60000 entries where 8000 are kept as they are, the rest in 1000 groups of each class."""
    probability, label = jets(60_000, 4, digits)
    kind = torch.where(label[:, None] >= 0, (label[:, None] == torch.arange(3)).to(torch.int8), -1)
    parts = zip(probability.split(700), kind.split(700), strict=True)
    kept = None
    for values, kinds in parts:
        one = Scores(Sample(values, kinds, 2, bound=8000), CLASSES)
        kept = one if kept is None else Scores.merged([kept, one])
        assert kept.size <= 8000
    assert kept is not None
    assert kept.sample.groups is not None
    assert kept.sample.groups.value.shape == (3, 1000)
    exact = Scores(Sample(probability, kind, 2), CLASSES).values()
    for name, value in kept.values().items():
        assert value == pytest.approx(exact[name], abs=1e-5 if digits == 7 else 1e-8), name


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Rejections(signal="bjet"), "unknown class 'bjet' in the rejections of task 't'; nearest: bjets"),
        (Rejections(efficiencies=[]), "efficiencies is empty"),
        (Rejections(efficiencies=[70]), "efficiency 70 of rejections must be above 0 and at most 1"),
        (Rejections(fractions={"cjet": 1.0}), "unknown background class 'cjet'"),
        (Rejections(fractions={"bjets": 1.0}), "unknown background class 'bjets'"),
        (
            Rejections(fractions={"cjets": 0.2}),
            "the fractions of rejections are cjets 0.2; they are at least 0 and add",
        ),
    ],
)
def test_what_cannot_be_asked_for(asked: Rejections, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        working_points(asked, "t", CLASSES)


def test_usual_fractions() -> None:
    assert working_points(Rejections(), "t", CLASSES).fractions == {"cjets": 0.2, "ujets": 0.8}
    assert working_points(Rejections("cjets"), "t", CLASSES).fractions == {"bjets": 0.5, "ujets": 0.5}
