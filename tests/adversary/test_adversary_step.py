"""A step against an adversary: its gradient is that of the whole formula, and with alpha 1 that of a plain tagger."""

import copy
from functools import partial

import contracts
import numpy as np
import pytest
import torch
from files import CLASSES, INPUTS, make_jets, write_structured
from lightning.pytorch import Callback, Trainer

from salt.adversarial import AdversarialTagger
from salt.adversary import Adversary, distance_correlation
from salt.data.datamodule import JetDataModule
from salt.nn import AttentionPooling, Transformer
from salt.tasks import Classification, Vertexing
from salt.training import Tagger

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]

TASKS = {
    "flavour": partial(Classification, "jets", "flavour_label", list(CLASSES), hidden=[8]),
    "vertex": partial(Vertexing, "tracks", weight=1.5, hidden=[8]),
}
MODEL = {
    "embed_dim": 16,
    "tasks": TASKS,
    "pooling": AttentionPooling,
    "encoder": partial(Transformer, 1, 2),
    "inputs": INPUTS,
}
MODES = ("alternate", "reversal", "distance_correlation")
ALPHA = 0.3


def trainer(**options):
    off = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    return Trainer(accelerator="cpu", devices=1, **off, **options)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    tables = make_jets(300, seed=3, width=20)
    return write_structured(tmp_path_factory.mktemp("adversary") / "train.h5", tables)


class Seen(Callback):
    """Keeps the gradients of a step after the warm-up, and those that the formula has for its batch."""

    def __init__(self) -> None:
        self.expected: dict[str, torch.Tensor] = {}
        self.found: dict[str, torch.Tensor] = {}

    def on_train_epoch_start(self, trainer, pl_module):
        if pl_module.opponent is not None:
            pl_module.opponent.network.double()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batch = batch
        self.before = copy.deepcopy(pl_module.opponent)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.current_epoch < 1:
            return
        named = dict(pl_module.named_parameters())
        self.found = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
        total = formula(pl_module, self.batch, self.before)
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        self.expected = {n: g for n, g in zip(named, gradients, strict=True) if g is not None}


def formula(tagger, batch, before):
    """Of the whole batch; with reversal the tagger sees the adversary as it was before the step."""
    raw = tagger.model(batch)
    found = {name: task.loss(raw[name], batch) for name, task in tagger.tasks.items()}
    tasks = sum(tagger.tasks[name].weight * x.sum / x.count for name, x in found.items())
    scores, bins = tagger.nuisance.scores(raw), tagger.nuisance.bins(batch)
    if tagger.opponent is None:
        return ALPHA * tasks + (1 - ALPHA) * distance_correlation(scores, bins)
    opponent = tagger.opponent if tagger.adversary.mode == "alternate" else before
    logs = opponent.network(scores[bins >= 0]).log_softmax(-1)
    return ALPHA * tasks + (1 - ALPHA) * logs.gather(1, bins[bins >= 0, None]).mean()


@pytest.mark.parametrize("most", [None, 300])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_is_that_of_the_formula(file, mode, most):
    """As a whole and in parts, in float64."""
    torch.manual_seed(1)
    adversary = Adversary("pt", bins=5, mode=mode, alpha=ALPHA)
    tagger = AdversarialTagger(adversary, **MODEL).double()
    data = JetDataModule(INPUTS, train_file=str(file), batch_size=100, num_workers=0, constituents_per_step=most)
    data.bind(tagger.targets, seed=0)
    seen = Seen()
    trainer(max_epochs=2, limit_train_batches=2, callbacks=[seen]).fit(tagger, data)
    assert seen.found.keys() == seen.expected.keys()
    for name, value in seen.expected.items():
        contracts.close(seen.found[name], value, 1e-9)


def weights_after(file, make):
    torch.manual_seed(1)
    tagger = make(**MODEL)
    data = JetDataModule(INPUTS, train_file=str(file), batch_size=100, num_workers=0)
    data.bind(tagger.targets, seed=0)
    trainer(max_epochs=3, gradient_clip_val=1.0).fit(tagger, data)
    return tagger


@pytest.mark.parametrize("mode", MODES)
def test_with_alpha_1_it_is_plain_training_bit_for_bit(file, mode):
    plain = weights_after(file, Tagger).state_dict()
    adversarial = weights_after(file, partial(AdversarialTagger, Adversary("pt", alpha=1, mode=mode)))
    other = weights_after(file, partial(AdversarialTagger, Adversary("pt", alpha=0.9, mode=mode))).state_dict()
    state = adversarial.state_dict()
    assert state.keys() == plain.keys()
    assert all(torch.equal(state[name], value) for name, value in plain.items())
    assert not all(torch.equal(other[name], value) for name, value in plain.items())


def test_steps_ratio_and_clipping_are_those_of_the_adversary(file):
    """The rate of the adversary is that of the tagger over the ratio, and it takes as many steps as asked."""
    rates = []

    class Rates(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            both = (pl_module.opponent.optimizer, trainer.optimizers[0])
            rates.append(tuple(optimizer.param_groups[0]["lr"] for optimizer in both))

    torch.manual_seed(1)
    adversary = Adversary("pt", ratio=0.25, steps=3)
    tagger = AdversarialTagger(adversary, **MODEL)
    data = JetDataModule(INPUTS, train_file=str(file), batch_size=100, num_workers=0)
    data.bind(tagger.targets, seed=0)
    training = trainer(max_epochs=2, callbacks=[Rates()], gradient_clip_val=1e-3)
    training.fit(tagger, data)
    np.testing.assert_allclose([a for a, _ in rates], [4 * t for _, t in rates])
    assert len({a for a, _ in rates}) > 1
    steps = {int(state["step"]) for state in tagger.opponent.optimizer.state.values()}
    assert (training.global_step, steps) == (6, {18})
    gradient = torch.cat([p.grad.flatten() for p in tagger.opponent.network.parameters()])
    assert float(gradient.norm()) <= 1e-3 * (1 + 1e-5)
