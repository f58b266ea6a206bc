import math

import contracts
import pytest
import torch

from salt.batch import JetBatch
from salt.errors import ConfigError, DataError
from salt.statistics import Statistics
from salt.tasks import Classification

CLASSES = ["bjets", "cjets", "ujets"]


def make(label="flavour_label", classes=CLASSES, input="jets", **kwargs):  # noqa: A002
    return Classification(input, label, classes, name="flavour", embed_dim=4, **{"hidden": [], **kwargs})


def batch_of(task, labels):
    return JetBatch(torch.zeros(len(labels), 1), {}, {task.target: torch.tensor(labels)}, torch.arange(0), {})


LOGITS = torch.tensor([[math.log(2), 0, 0], [0, math.log(6), 0], [0, 0, 0], [5, 5, 5]])
"""Probabilities 1/2 1/4 1/4, 1/8 3/4 1/8, three thirds, three thirds."""


def test_loss_by_hand():
    task = make()
    loss = task.loss(LOGITS, batch_of(task, [0, 1, 2, -1]))
    assert float(loss.sum) == pytest.approx(math.log(2) + math.log(4 / 3) + math.log(3))
    assert float(loss.count) == 3


def test_weighted_loss_by_hand_and_as_torch_defines_its_mean():
    task = make(class_weights=[2, 0.5, 4])
    labels = [0, 1, 2, -1]
    loss = task.loss(LOGITS, batch_of(task, labels))
    assert float(loss.sum) == pytest.approx(2 * math.log(2) + 0.5 * math.log(4 / 3) + 4 * math.log(3))
    assert float(loss.count) == 6.5
    mean = torch.nn.functional.cross_entropy(LOGITS, torch.tensor(labels), torch.tensor([2, 0.5, 4]), ignore_index=-1)
    assert float(loss.sum / loss.count) == pytest.approx(float(mean))


def test_no_target_at_all():
    task = make()
    logits = LOGITS.clone().requires_grad_()
    loss = task.loss(logits, batch_of(task, [-1, -1, -1, -1]))
    loss.sum.backward()
    assert (float(loss.sum.detach()), float(loss.count)) == (0, 0)
    assert torch.equal(logits.grad, torch.zeros(4, 3))


def test_accuracy_leaves_out_what_is_no_target():
    task = make()
    accuracy = task.metrics(LOGITS, batch_of(task, [0, 2, -1, -1]))["accuracy"]
    assert (float(accuracy.sum), float(accuracy.count)) == (1, 2)


def test_balanced_weights():
    task = make(class_weights="balanced")
    task.adopt(Statistics({}, class_counts={task.target: (10, 30, 60)}))
    contracts.close(task.class_weight, torch.tensor([100 / 30, 100 / 90, 100 / 180]), 1e-6)
    assert "class_weight" in task.state_dict()


def test_balanced_weights_of_a_class_that_never_occurs(caplog):
    task = make(class_weights="balanced")
    task.adopt(Statistics({}, class_counts={task.target: (10, 0, 30)}))
    contracts.close(task.class_weight, torch.tensor([2.0, 0.0, 2 / 3]), 1e-6)
    assert "cjets never occurs in 'flavour_label'" in caplog.text
    with pytest.raises(DataError, match="class_weights cannot be balanced"):
        task.adopt(Statistics({}, class_counts={task.target: (0, 0, 0)}))


def test_weights_of_the_class_dict():
    task = make(class_weights="class_dict")
    task.adopt(Statistics({}, class_weights={task.target: (1.0, 2.0, 3.0)}))
    assert task.class_weight.tolist() == [1, 2, 3]
    with pytest.raises(ConfigError, match=r"the class dict has no weights for 'flavour_label' of input 'jets'"):
        task.adopt(Statistics({}))
    with pytest.raises(ConfigError, match="has 2 numbers for 'flavour_label', but there are 3 classes"):
        task.adopt(Statistics({}, class_weights={task.target: (1.0, 2.0)}))


def test_columns():
    names = [c.in_file("GN2") for c in make(classes=["bjets", "cjets", "ujets", "taujets", "hbb"]).columns()]
    assert names == ["GN2_pb", "GN2_pc", "GN2_pu", "GN2_ptau", "GN2_phbb"]
    origin = make("ftagTruthOriginLabel", None, "tracks")
    assert [c.name for c in origin.columns()][:3] == ["pPileup", "pFake", "pPrimary"]


def test_probabilities_sum_to_one_in_f4():
    task = make()
    total = sum(task.predict(torch.randn(10000, 3) * 20).values())
    assert (total - 1).abs().max() <= 2 * torch.finfo(torch.float32).eps


def test_where_classes_come_from():
    mapped = make("HadronConeExclTruthLabelID", None, label_map={5: "b", 4: "c", 15: "tau"}, ignore_classes=["tau"])
    assert mapped.target.classes == ("c", "b")
    assert mapped.target.codes == ((4, "c"), (5, "b"), (15, "tau"))
    assert mapped.target.ignore == ("tau",)
    standard = make("HadronConeExclTruthLabelID", None, ignore_classes=["taujets", 7])
    assert standard.target.classes == ("ujets", "cjets", "bjets")
    assert standard.target.codes is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": None}, "name the classes of 'flavour_label'"),
        ({"classes": ["bjets"]}, "at least two"),
        ({"classes": ["bjets", "cjets", "bjets"]}, "names bjets more than once"),
        ({"ignore_classes": ["cjets"]}, "cjets is among classes and in ignore_classes"),
        (
            {"label_map": {0: "ujet", 4: "cjets", 5: "bjets"}},
            "unknown class 'ujet' in the label_map of task 'flavour'; n",
        ),
        ({"label_map": {4: "cjets", 5: "bjets"}}, "unknown class 'ujets' of task 'flavour': it has no code"),
        ({"classes": ["bjets", "b"]}, "two of its classes would be written as column pb"),
        ({"class_weights": [1, 2]}, "class_weights has 2 numbers"),
        ({"class_weights": [1, -2, 3]}, "weights are finite, at least 0"),
        ({"weight": -1}, "weight is -1"),
        ({"activation": "rel", "hidden": [4]}, "unknown activation 'rel'"),
    ],
)
def test_arguments_that_cannot_be(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)
