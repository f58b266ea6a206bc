"""The optimiser steps in one thread, the rest of a step has all of them, also after an error."""

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from salt.callbacks.one_thread import OneThread

pytestmark = pytest.mark.filterwarnings("ignore")  # Of Lightning, which misses workers and a logger.


class Watched(torch.optim.SGD):
    def step(self, closure=None):
        found = super().step(closure)
        self.threads.append(torch.get_num_threads())  # After the closure, which is the step up to the gradients.
        return found


class Model(LightningModule):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.threads = nn.Linear(width, width), []

    def train_dataloader(self):
        return DataLoader(torch.zeros(6, self.layer.in_features), batch_size=2)

    def training_step(self, batch):
        self.threads.append(torch.get_num_threads())
        return self.layer(batch).sum()

    def configure_optimizers(self):
        self.optimizer = Watched(self.parameters(), lr=0.1)
        self.optimizer.threads = []
        return self.optimizer


def fit(model: Model, *callbacks: Callback) -> None:
    options = {"accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_checkpointing": False}
    display = {"enable_progress_bar": False, "enable_model_summary": False}
    Trainer(callbacks=list(callbacks), **options, **display).fit(model)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("width", "expected"), [(8, 1), (512, 3)])
@pytest.mark.usefixtures("three_threads")
def test_small_parameters_are_stepped_in_one_thread(width: int, expected: int) -> None:
    model = Model(width)
    fit(model, OneThread())
    assert model.optimizer.threads == [expected] * 3
    assert model.threads == [3] * 3
    assert torch.get_num_threads() == 3


class Failing(Callback):
    def on_before_optimizer_step(self, *args) -> None:
        raise ValueError("on purpose")


@pytest.mark.usefixtures("three_threads")
def test_threads_are_given_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="on purpose"):
        fit(Model(8), OneThread(), Failing())
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_threads_are_given_back_where_a_step_asks_for_gradients_twice() -> None:
    callback, model = OneThread(), Model(8)
    optimizer = model.configure_optimizers()
    for _ in range(2):
        callback.on_before_optimizer_step(None, model, optimizer)
        assert torch.get_num_threads() == 1
    callback.on_train_batch_end()
    assert torch.get_num_threads() == 3
