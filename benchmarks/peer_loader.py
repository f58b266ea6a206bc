"""Reads a training file with salt-ml's own data module in this process; run by the Python of its environment.

Prints JSON: jets per second and per CPU second of the fastest pass after the first one.
"""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch

from salt.data import SaltDataModule


def main() -> None:
    """Reads the file as often as asked for, and once more before."""
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path)
    parser.add_argument("--variables", type=json.loads, required=True)
    parser.add_argument("--labels", type=json.loads, required=True)
    parser.add_argument("--batch_size", type=int, default=1000)
    parser.add_argument("--passes", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr):
        data = SaltDataModule(
            train_file=arguments.train,
            val_file=arguments.train,
            norm_dict=arguments.train.parent / "norm_dict.yaml",
            class_dict=arguments.train.parent / "class_dict.yaml",
            variables=arguments.variables,
            labels=arguments.labels,
            batch_size=arguments.batch_size,
            num_workers=0,
            num_train=-1,
            num_val=1,
            num_test=1,
        )
        data.trainer = SimpleNamespace(is_global_zero=True)
        data.setup("fit")
        loader = data.train_dataloader()
    rates = []
    for _ in range(arguments.passes + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        jets = sum(len(batch[0]["jets"]) for batch in loader)
        rates.append({"wall": jets / (time.perf_counter() - wall), "cpu": jets / (time.process_time() - cpu)})
    print(json.dumps({key: max(rate[key] for rate in rates[1:]) for key in rates[0]}))


if __name__ == "__main__":
    main()
