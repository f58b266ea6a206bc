"""What a model can learn about jets and their constituents."""

from salt.tasks.base import Column, Embedding, Loss, Share, Task, TaskFactory
from salt.tasks.classification import Classification
from salt.tasks.curriculum import Rollout, RollsOut
from salt.tasks.next_constituent import NextConstituent
from salt.tasks.regression import Regression
from salt.tasks.vertexing import Vertexing
from salt.tasks.weights import Level, LossWeights, Weighing

__all__ = [
    "Classification",
    "Column",
    "Embedding",
    "Level",
    "Loss",
    "LossWeights",
    "NextConstituent",
    "Regression",
    "Rollout",
    "RollsOut",
    "Share",
    "Task",
    "TaskFactory",
    "Vertexing",
    "Weighing",
]
