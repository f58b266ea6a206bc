"""What a tagger is trained against, so that nothing of a nuisance can be read from its scores."""

from salt.adversary.distance import distance_correlation
from salt.adversary.nuisance import Nuisance
from salt.adversary.opponent import Clipping, Opponent
from salt.adversary.options import Adversary
from salt.adversary.turn import Turn

__all__ = ["Adversary", "Clipping", "Nuisance", "Opponent", "Turn", "distance_correlation"]
