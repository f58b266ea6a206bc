"""Schedules and optimisers."""

from salt.optim.muon import MuonAdamW
from salt.optim.optimizers import OptimizerFactory
from salt.optim.schedules import Constant, Cosine, OneCycle, Schedule

__all__ = ["Constant", "Cosine", "MuonAdamW", "OneCycle", "OptimizerFactory", "Schedule"]
