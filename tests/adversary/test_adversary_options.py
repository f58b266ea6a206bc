"""What a config can say of an adversary, and which jets, bins and cuts that means."""

import pytest
import torch
from files import CLASSES, FLAVOUR

from salt.adversary import Adversary, Nuisance
from salt.batch import JetBatch
from salt.errors import ConfigError, DataError
from salt.metrics import Rejections
from salt.tasks import Classification


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 0}, "alpha is 0; it is above 0 and at most 1"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"balance": 1.2}, "balance is 1.2"),
        ({"ratio": 0}, "ratio is 0; it is above 0"),
        ({"bins": 1}, "bins is 1; it is at least 2"),
        ({"warmup_epochs": 0}, "warmup_epochs is 0; it is at least 1"),
        ({"steps": 0}, "steps is 0"),
        ({"hidden": [0]}, r"hidden is \[0\]"),
        ({"mode": "reverse"}, "unknown mode 'reverse'; nearest: reversal"),
        ({"mode": "reversal", "steps": 2}, "steps has no effect with mode: reversal"),
        ({"mode": "distance_correlation", "ratio": 2.0}, "ratio has no effect with mode: distance_correlation"),
        ({"tolerance": 0.1}, "tolerance has no effect without model.adversary.balance"),
        ({"patience": 2}, "patience has no effect without model.adversary.balance"),
        ({"balance": 0.9, "alpha": 1}, "balance is never reached with alpha: 1"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ConfigError, match=f"model.adversary.{words}|model.adversary.mode: {words}"):
        Adversary("pt", **options)


def test_what_is_not_given():
    assert Adversary("pt").exit is None
    assert Adversary("pt", balance=0.9).exit == pytest.approx((0.85, 3))
    assert Adversary("pt", balance=0.9, tolerance=0.2, patience=1).exit == pytest.approx((0.7, 1))


def tasks(**options):
    return {"flavour": Classification("jets", "flavour_label", list(CLASSES), name="flavour", embed_dim=4, **options)}


def batch(nuisance, pt, label):
    rows = torch.arange(len(pt))
    labels = {nuisance.target: torch.tensor(pt), FLAVOUR: torch.tensor(label)}
    return JetBatch(torch.zeros(len(pt), 1), {}, labels, rows, {})


def test_bins_are_quantiles_of_the_background():
    nuisance = Nuisance(Adversary("pt", bins=4), tasks())
    assert nuisance.classes == ("cjets", "ujets")
    jets = batch(nuisance, [1.0, 2, 3, 4, 5, 6, 7, 8, 100, 200, 300, 4], [1, 2] * 4 + [0, 0, 0, -1])
    nuisance.measure(lambda: [jets])
    assert nuisance.bins(jets).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, -1, -1, -1, -1]
    assert nuisance.centres == (1, 3, 5, 7)
    others = batch(nuisance, [-9.0, 1e9, float("nan")], [1, 2, 1])
    assert nuisance.bins(others).tolist() == [0, 3, -1]


def test_few_values_have_a_bin_each():
    nuisance = Nuisance(Adversary("is_simulated", ["ujets"]), tasks())
    jets = batch(nuisance, [1.0, 0, 0, 5, 1, 7], [2, 2, 2, 2, 2, 0])
    nuisance.measure(lambda: [jets])
    assert nuisance.bins(jets).tolist() == [1, 0, 0, 2, 1, -1]


def test_many_equal_values_make_no_empty_bin():
    nuisance = Nuisance(Adversary("pt", bins=4), tasks())
    jets = batch(nuisance, [0.0] * 30 + [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1] * 40)
    nuisance.measure(lambda: [jets])
    assert set(nuisance.bins(jets).tolist()) == set(range(nuisance.number))


def test_nothing_to_read():
    nuisance = Nuisance(Adversary("pt"), tasks())
    with pytest.raises(DataError, match="'pt' of the classes cjets, ujets is 3 in all training jets"):
        nuisance.measure(lambda: [batch(nuisance, [3.0, 3, 4], [1, 2, 0])])
    with pytest.raises(DataError, match="there are no such jets"):
        nuisance.measure(lambda: [batch(nuisance, [3.0, 3, 4], [0, 0, 0])])


@pytest.mark.parametrize(
    ("adversary", "options", "words"),
    [
        ({"classes": ["light"]}, {}, "unknown class 'light' in model.adversary.classes"),
        ({"classes": []}, {}, "classes is empty"),
        ({"task": "flavor"}, {}, "unknown classification of jets 'flavor'.*; nearest: flavour"),
        ({}, {"rejections": None}, "classes: name the classes that are background, of bjets, cjets, ujets"),
        ({"classes": ["ujets"]}, {"rejections": None}, "what is the signal"),
    ],
)
def test_what_does_not_fit_the_tasks(adversary, options, words):
    with pytest.raises(ConfigError, match=words):
        Nuisance(Adversary("pt", **adversary), tasks(**options))


def test_the_signal_is_that_of_the_rejections_or_what_is_no_background():
    asked = Nuisance(Adversary("pt"), tasks(rejections=Rejections("cjets")))
    assert (asked.points.signal, asked.classes) == ("cjets", ("bjets", "ujets"))
    left = Nuisance(Adversary("pt", ["bjets", "ujets"]), tasks(rejections=None))
    assert left.points.signal == "cjets"


def test_there_must_be_one_classification_of_jets():
    two = {
        **tasks(),
        "again": Classification("jets", "flavour_label", list(CLASSES), name="again", embed_dim=4),
    }
    with pytest.raises(ConfigError, match="there are flavour, again; name one of them"):
        Nuisance(Adversary("pt"), two)
    assert Nuisance(Adversary("pt", task="again"), two).task.name == "again"
    with pytest.raises(ConfigError, match="no task is a classification of jets"):
        Nuisance(Adversary("pt"), {})
