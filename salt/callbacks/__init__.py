"""Lightning hooks; they know tasks only by their verbs."""

from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.predictions import PredictionWriter

__all__ = ["Checkpoint", "PredictionWriter"]
