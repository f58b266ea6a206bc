"""Names of what goes into a graph and comes out."""

import pytest
from export_models import FLOWS, model_of

from salt.errors import ConfigError
from salt.export.plan import Wishes, make_plan

MODEL = model_of("transformer")
"""It is only asked for its tasks."""


def plan(batched=False, **wishes):
    return make_plan("GN2", batched, FLOWS, MODEL.named_tasks, Wishes(**wishes))


def test_names_follow_the_convention():
    one = plan()
    assert one.tensors == ("jet_features", "track_features", "flows_features")
    assert [(each.name, each.dtype) for each in one.outputs] == [
        ("GN2_pb", "float32"),
        ("GN2_pc", "float32"),
        ("GN2_pu", "float32"),
        ("GN2_TrackOrigin", "int8"),
        ("GN2_VertexIndex", "int64"),
        ("GN2_mass", "float32"),
        ("GN2_true_energy", "float32"),
    ]
    assert plan(batched=True).tensors == (*one.tensors, "track_offsets", "flows_offsets")


def test_any_subset_of_tasks():
    assert [each.name for each in plan(tasks=("vertices", "mass")).outputs] == ["GN2_VertexIndex", "GN2_mass"]


def test_renaming_of_everything():
    renamed = plan(
        rename={"pb": "p_bottom", "GN2_VertexIndex": "vertex", "track_features": "tracks", "tracks.d0": "IP3D_d0"}
    )
    assert [each.name for each in renamed.outputs][:5] == ["p_bottom", "GN2_pc", "GN2_pu", "GN2_TrackOrigin", "vertex"]
    assert renamed.inputs[1].name == "tracks"
    assert renamed.inputs[1].variables == ("IP3D_d0", "z0", "dphi")


def test_sums_take_the_place_of_their_first_part():
    combined = plan(combine={"pheavy": ("pc", "GN2_pb")}, tasks=("flavour",), rename={"pheavy": "heavy"})
    assert [(each.name, each.columns) for each in combined.outputs] == [("heavy", ("pc", "pb")), ("GN2_pu", ("pu",))]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"tasks": ("flavor",)}, "unknown task 'flavor' in --tasks; nearest: flavour"),
        ({"rename": {"track_feature": "x"}}, "nearest: track_features"),
        ({"rename": {"tracks.d1": "x"}}, "nearest: tracks.d0"),
        ({"rename": {"pb": "x", "GN2_pb": "y"}}, "two names"),
        ({"rename": {"pb": "GN2_pc"}}, "two tensors of the graph would be called GN2_pc"),
        ({"combine": {"p": ("pb", "pbb")}}, "unknown output 'pbb'"),
        ({"combine": {"p": ("pb", "pb")}}, "two or more different"),
        ({"combine": {"p": ("pb",)}}, "two or more different"),
        ({"combine": {"p": ("pb", "mass")}}, "numbers of one task"),
    ],
)
def test_wishes_that_cannot_be(wishes, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        plan(**wishes)
