"""Lightning hooks; they know tasks only by their verbs."""

from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.comet import Comet
from salt.callbacks.early_stopping import EarlyStopping
from salt.callbacks.ema import EMA
from salt.callbacks.health import Health
from salt.callbacks.predictions import PredictionWriter

__all__ = ["EMA", "Checkpoint", "Comet", "EarlyStopping", "Health", "PredictionWriter"]
