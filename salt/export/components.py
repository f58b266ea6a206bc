"""Connected components as one operator, so that a graph need not show the loop that finds them."""

import torch
from torch import Tensor


@torch.library.custom_op("salt::connected", mutates_args=())
def connected(logits: Tensor, first: Tensor, second: Tensor, rows: Tensor) -> Tensor:
    """[T] the first row of the connected component of each row.

    Args:
        logits: [P] above 0 where two rows are linked.
        first: [P] one of the two.
        second: [P] the other.
        rows: [T] 0 to T - 1.
    """
    linked = logits > 0
    first, second = first[linked], second[linked]
    root = rows.clone()
    while True:
        lower = torch.minimum(root[first], root[second])
        new = root.scatter_reduce(0, first, lower, "amin").scatter_reduce(0, second, lower, "amin")
        new = new[new]
        if torch.equal(new, root):
            return root
        root = new


@connected.register_fake
def _(logits: Tensor, first: Tensor, second: Tensor, rows: Tensor) -> Tensor:
    return torch.empty_like(rows)
