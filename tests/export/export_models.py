"""Small models with everything that an exported graph must say, and random weights."""

from functools import partial

import contracts
import onnx
import torch

from salt.inputs import Input
from salt.model import JetTagger
from salt.nn import AttentionPooling, GraphAttention, MeanPooling, SumPooling, Transformer
from salt.tasks import Classification, Regression, Vertexing

TRACKS = {"jets": Input(["pt", "eta"]), "tracks": Input(["d0", "z0", "dphi"], max_count=40)}
FLOWS = {**TRACKS, "flows": Input(["energy", "deta"])}

FLAVOUR = partial(Classification, input="jets", label="flavour", classes=["bjets", "cjets", "ujets"], hidden=[8])
ORIGIN = partial(Classification, input="tracks", label="ftagTruthOriginLabel", hidden=[8])
VERTICES = partial(Vertexing, "tracks", hidden=[8])
MASS = partial(Regression, input="jets", labels=["mass"], scale="log", hidden=[8])
ENERGY = partial(Regression, input="flows", labels=["true_energy"], hidden=[8])


def model_of(kind: str, seed: int = 0) -> JetTagger:
    """One of some models.

    ``transformer`` has registers, two inputs of constituents and every task; ``plain`` is one that shows a jet nothing
    but its constituents. The others are ``graph``, ``sets``, and one of ``jets`` alone.
    """
    torch.manual_seed(seed)
    build = {
        "transformer": lambda: JetTagger(
            FLOWS,
            16,
            partial(Transformer, num_layers=2, num_heads=2),
            AttentionPooling,
            {"flavour": FLAVOUR, "track_origin": ORIGIN, "vertices": VERTICES, "mass": MASS, "energy": ENERGY},
            registers=2,
        ),
        "plain": lambda: JetTagger(
            TRACKS, 16, partial(Transformer, num_layers=1, num_heads=2), AttentionPooling, {"flavour": FLAVOUR}
        ),
        "graph": lambda: JetTagger(
            TRACKS,
            16,
            partial(GraphAttention, num_layers=2, num_heads=2, dropout=0.1),
            MeanPooling,
            {"flavour": FLAVOUR, "vertices": VERTICES},
        ),
        "sets": lambda: JetTagger(TRACKS, 16, None, SumPooling, {"flavour": FLAVOUR, "track_origin": ORIGIN}),
        "jets": lambda: JetTagger({"jets": Input(["pt", "eta"])}, 16, None, SumPooling, {"flavour": FLAVOUR}),
    }
    model = contracts.randomised(build[kind](), torch.float32)
    inputs = FLOWS if kind == "transformer" else TRACKS
    model.adopt(contracts.random_statistics(inputs, model.targets))
    return model


def racing(graph: onnx.ModelProto) -> list[str]:
    """Nodes that add to rows which others may name too, in threads that do not wait for each other."""
    return [n.name for n in graph.graph.node if n.op_type == "ScatterND" and any(a.s == b"add" for a in n.attribute)]
