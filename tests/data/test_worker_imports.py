"""A worker that starts from nothing imports what reading needs."""

import multiprocessing
import sys
from pathlib import Path

import pytest
from files import INPUTS, TARGETS, make_jets, write_structured

from salt.data.formats import open_reader
from salt.data.loader import StepLoader
from salt.data.orders import Sequential
from salt.data.source import Source

HEAVY = {"lightning", "torchmetrics", "jsonargparse", "matplotlib", "scipy", "comet_ml", "torch._dynamo"}


def read_and_look(source: Source) -> tuple[int, set[str]]:
    before = HEAVY & set(sys.modules)
    jets = sum(len(batch) for batch in StepLoader(source, Sequential(source.num_jets, 16), lambda: 0))
    return jets, before | HEAVY & set(sys.modules)


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_a_worker_imports_no_lightning(start: str, tmp_path: Path) -> None:
    path = write_structured(tmp_path / "a.h5", make_jets(50))
    source = Source("data.train_file", [open_reader(path, {})], INPUTS, TARGETS)
    with multiprocessing.get_context(start).Pool(1) as pool:
        jets, loaded = pool.apply(read_and_look, (source,))
    assert jets == 50
    assert not loaded
