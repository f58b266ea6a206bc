"""A step with every kind of weight, balanced in every way: value and gradients are those of the formula of the docs."""

from functools import partial

import contracts
import numpy as np
import pytest
import torch
from files import CLASSES, INPUTS, make_jets, with_field, write_structured
from lightning.pytorch import Callback, Trainer

from salt.data.datamodule import JetDataModule
from salt.nn import AttentionPooling, Transformer
from salt.tasks import Classification, Level, LossWeights, Regression, Vertexing
from salt.training import Tagger

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]

TASKS = {
    "flavour": partial(
        Classification, "jets", "flavour_label", list(CLASSES), class_weights=[1, 2, 0.5], loss_weights=LossWeights("w")
    ),
    "origin": partial(
        Classification,
        "tracks",
        "ftagTruthOriginLabel",
        weight=0.5,
        loss_weights=LossWeights("w", Level("value", "z0", "relu", slope=0.3, minimum=0.2), "training"),
    ),
    "vertex": partial(Vertexing, "tracks", weight=1.5, loss_weights=LossWeights("w", Level(slope=-0.2, minimum=0.2))),
    "length": partial(Regression, "jets", ["Lxy"], weight=0.1, loss_weights=LossWeights("w", normalise="none")),
}


class Seen(Callback):
    """Keeps value and gradients of a step, and those that the formula has for its batch."""

    def __init__(self, rule: str | None) -> None:
        self.rule = rule
        self.expected: dict[str, torch.Tensor] = {}
        self.found: dict[str, torch.Tensor] = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        total = formula(self.rule, pl_module, batch)
        named = dict(pl_module.named_parameters())
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        self.expected = {n: g for n, g in zip(named, gradients, strict=True) if g is not None}
        self.expected["loss"] = total.detach()

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        undecayed = [p for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]]
        own = list(pl_module.balancing.parameters()) if self.rule else []
        assert all(any(p is one for one in undecayed) for p in own)
        self.found = {name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        assert len(batch) == 100
        self.found["loss"] = outputs["loss"]


def formula(rule, tagger, batch):
    """The total of a whole batch, by autograd through all of it."""
    raw = tagger.model(batch)
    found = [task.loss(raw[name], batch) for name, task in tagger.tasks.items()]
    losses = torch.stack([x.sum / x.count for x in found])
    weights = torch.tensor([task.weight for task in tagger.tasks.values()], dtype=torch.float64)
    if rule == "uncertainty":
        s = tagger.balancing.log_variance
        return (weights * (torch.exp(-s) * losses + s / 2)).sum()
    return torch.prod(losses**weights) ** (1 / weights.sum()) if rule == "geometric" else (weights * losses).sum()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    tables = make_jets(120, seed=3, width=20)
    tables["jets"] = with_field(tables["jets"], "w", np.random.default_rng(0).uniform(0.1, 3, 120))
    return write_structured(tmp_path_factory.mktemp("weighted") / "train.h5", tables)


@pytest.mark.parametrize("rule", [None, "uncertainty", "geometric"])
@pytest.mark.parametrize(("accumulated", "most"), [(1, None), (1, 120), (4, None)])
def test_a_step_is_that_of_the_formula(file, rule, accumulated, most):
    """As a whole, in parts, and accumulated, in float64."""
    torch.manual_seed(1)
    tasks = {name: partial(make, hidden=[8]) for name, make in TASKS.items()}
    tagger = Tagger(16, tasks, AttentionPooling, partial(Transformer, 1, 2), inputs=INPUTS, balancing=rule).double()
    if rule == "uncertainty":
        tagger.balancing.log_variance.data = torch.tensor([0.3, -0.5, 0.2, 1.0], dtype=torch.float64)
    data = JetDataModule(
        INPUTS, train_file=str(file), batch_size=100 // accumulated, num_workers=0, constituents_per_step=most
    )
    data.bind(tagger.model.targets, seed=0)
    data.accumulate(accumulated)
    seen = Seen(rule)
    options = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    Trainer(max_steps=1, accelerator="cpu", devices=1, callbacks=[seen], **options).fit(tagger, data)
    assert seen.found.keys() == seen.expected.keys()
    assert ("balancing.log_variance" in seen.found) == (rule == "uncertainty")
    for name, value in seen.expected.items():
        contracts.close(seen.found[name], value, 1e-10)
