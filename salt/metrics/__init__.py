"""What is measured of a model: streaming, and exact over batches and devices."""

from salt.metrics.base import Metric
from salt.metrics.confusion import ConfusionMatrix
from salt.metrics.decorrelation import Decorrelation
from salt.metrics.figures import Confusion, Curve, Figure, Line
from salt.metrics.lists import Scratch
from salt.metrics.residuals import Residuals
from salt.metrics.scores import Scores
from salt.metrics.vertices import VertexMatches, match_vertices
from salt.metrics.working_points import Rejections, WorkingPoints, working_points

__all__ = [
    "Confusion",
    "ConfusionMatrix",
    "Curve",
    "Decorrelation",
    "Figure",
    "Line",
    "Metric",
    "Rejections",
    "Residuals",
    "Scores",
    "Scratch",
    "VertexMatches",
    "WorkingPoints",
    "match_vertices",
    "working_points",
]
