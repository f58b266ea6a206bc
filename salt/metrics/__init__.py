"""What is measured of a model: streaming, and exact over batches and devices."""

from salt.metrics.figures import Confusion, Curve, Figure, Line

__all__ = ["Confusion", "Curve", "Figure", "Line"]
