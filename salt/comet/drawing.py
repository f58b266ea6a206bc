"""Pictures of what a metric can show, from the plain record of it that goes from one process to another."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture


def draw(record: Mapping[str, Any]) -> "Picture":
    """The picture of a record: 5 by 4 inches, outside of any window."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(5, 4), layout="constrained")
    axes = picture.subplots()
    axes.set_title(record["name"], fontsize="small")
    if record["kind"] == "confusion":
        _draw_confusion(axes, np.array(record["counts"], dtype=float), record["classes"])
        return picture
    for line in record["lines"]:
        y = np.array([math.nan if value is None else value for value in line["y"]])
        axes.plot([math.nan if value is None else value for value in line["x"]], y, label=line["name"])
    if record["log_y"]:
        axes.set_yscale("log")
    axes.set_xlabel(record["x_label"])
    axes.set_ylabel(record["y_label"])
    axes.grid(alpha=0.3)
    if record["lines"]:
        axes.legend(fontsize="small")
    return picture


def pixels(picture: "Picture") -> NDArray[np.uint8]:
    """[height, width, 4] its colours and opacity."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _draw_confusion(axes: Any, counts: Any, classes: list[str]) -> None:
    """Shares of each true class, as colours and, where there is room, numbers."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize="small")
    axes.set_yticks(range(len(classes)), classes, fontsize="small")
    axes.set_xlabel("most probable class")
    axes.set_ylabel("true class")
    if len(classes) > 12:
        return
    for row, column in np.ndindex(*shares.shape):
        share = shares[row, column]
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize="x-small")
