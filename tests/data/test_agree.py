"""Processes wait for the long work of one of them, and learn how it went."""

import subprocess
import sys

import pytest

RANK = """
import sys, time
from datetime import timedelta
from types import SimpleNamespace
import torch
import torch.distributed as dist
from salt.data import agree

rank, file, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
agree.BEAT_SECONDS = 0.2
dist.init_process_group("gloo", f"file://{file}", timedelta(seconds=2), 2, rank)

def decide(decision):
    whole = torch.tensor(int(decision))
    dist.all_reduce(whole)
    return int(whole) == 2

def work():
    time.sleep(seconds if rank == 0 else 0)
    return sys.argv[4 + rank] == "well"

strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce_boolean_decision=decide)
print(agree.all_succeed(SimpleNamespace(world_size=2, strategy=strategy), work))
"""


@pytest.mark.parametrize(
    ("seconds", "outcomes", "well"),
    [(5, ("well", "well"), True), (0, ("badly", "well"), False), (0, ("well", "badly"), False)],
)
def test_all_learn_whether_all_went_well(tmp_path, seconds, outcomes, well):
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "meeting"), str(seconds), *outcomes],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [rank.communicate()[0] for rank in ranks] == [f"{well}\n"] * 2
