"""Connected components in ONNX: a loop that ends when nothing changes any more."""

# What follows is ONNX Script, which just looks like Python.
# mypy: ignore-errors

from onnxscript import FLOAT, INT64, script
from onnxscript import opset18 as op


@script()
def connected_components(
    logits: FLOAT[...],
    first: INT64[...],
    second: INT64[...],
    rows: INT64[...],
) -> INT64[...]:
    """What the exporter puts in the place of `salt.export.components.connected`.

    Args:
        logits: [P] above 0 where two rows are linked.
        first: [P] one of the two.
        second: [P] the other.
        rows: [T] 0 to T - 1.

    Returns:
        [T] the first row of the connected component of each.
    """
    linked = logits > 0.0
    one = op.Compress(first, linked, axis=0)
    other = op.Compress(second, linked, axis=0)
    root = op.Identity(rows)
    changed = op.Size(one) > 0
    while changed:
        lower = op.Min(op.Gather(root, one), op.Gather(root, other))
        spread = op.ScatterElements(root, one, lower, axis=0, reduction="min")
        spread = op.ScatterElements(spread, other, lower, axis=0, reduction="min")
        new = op.Gather(spread, spread)
        moved = op.Cast(op.Not(op.Equal(new, root)), to=7)
        changed = op.ReduceSum(moved, keepdims=0) > 0
        root = op.Identity(new)
    return root
