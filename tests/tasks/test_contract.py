from functools import partial

import contracts
import pytest
import torch

from salt.tasks import Classification, Embedding, Level, LossWeights, Regression, Vertexing

CLASSES = ["bjets", "cjets", "ujets"]
RANK = Level(slope=-0.1, minimum=0.2)
SHARE = Level("share", scaler="polynomial", coefficients=[0.1, 1, 2])
TASKS = {
    "jets": partial(Classification, "jets", "flavour_label", CLASSES, class_weights="balanced", dropout=0.1),
    "constituents": partial(Classification, "tracks", "ftagTruthOriginLabel", class_weights="class_dict"),
    "linear": partial(Classification, "tracks", "kind", CLASSES, class_weights=[1, 0.5, 2], hidden=[]),
    "vertexing": partial(Vertexing, "tracks", hidden=[16, 8], dropout=0.1),
    "linear vertexing": partial(Vertexing, "tracks", hidden=[]),
    "regression": partial(Regression, "jets", ["pt", "length"]),
    "log": partial(Regression, "jets", ["pt"], scale="log", loss="huber"),
    "weighted": partial(
        Classification, "tracks", "kind", CLASSES, class_weights=[1, 0.5, 2], loss_weights=LossWeights("weight", SHARE)
    ),
    "weighted vertexing": partial(Vertexing, "tracks", hidden=[8], loss_weights=LossWeights("weight", RANK, "none")),
    "weighted regression": partial(
        Regression,
        "tracks",
        ["d0", "z0"],
        label_weights={"z0": 3},
        loss_weights=LossWeights("weight", SHARE, normalise="training"),
    ),
    "plain": partial(Regression, "tracks", ["d0", "z0"], scale="none", hidden=[8]),
}


@pytest.mark.parametrize("name", TASKS)
def test_contract(name):
    contracts.check_task(TASKS[name])


@pytest.mark.parametrize("name", TASKS)
def test_gradients(name):
    task = contracts.randomised(TASKS[name](name=name, embed_dim=4), torch.float64)
    counts = (2, 0, 1, 3)
    batch = contracts.random_batch({"jets": 1, "tracks": 1}, task.targets, counts)
    x = contracts.random_rows(counts, 4, torch.float64)
    jets = torch.randn(4, 4, dtype=torch.float64)

    def loss(jets, rows):
        return task.loss(task(Embedding(jets, {"tracks": x.with_values(rows)})), batch).sum

    assert torch.autograd.gradcheck(loss, (jets.requires_grad_(), x.values.requires_grad_()), fast_mode=True)
