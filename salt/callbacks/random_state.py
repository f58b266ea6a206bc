"""The state of all generators of random numbers, as plain tensors that a checkpoint may hold."""

import random
from typing import Any, TypeAlias

import numpy as np
import torch

RandomState: TypeAlias = dict[str, Any]
"""The generators of one process: those of torch, of its device, of numpy and of Python."""


def random_state(device: torch.device) -> RandomState:
    """The state of this process.

    Args:
        device: On which the model is; the generator of a GPU belongs to the state too.
    """
    _, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
    version, words, next_gauss = random.getstate()
    state: RandomState = {
        "torch": torch.get_rng_state(),
        "numpy": (torch.from_numpy(np.asarray(keys).astype(np.int64)), int(place), int(has_gauss), float(gauss)),
        "python": (version, torch.tensor(words), next_gauss),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: RandomState, device: torch.device) -> None:
    """Puts the generators of this process where `random_state` found them."""
    torch.set_rng_state(state["torch"].cpu())
    keys, place, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), place, has_gauss, gauss))
    version, words, next_gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), next_gauss))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
