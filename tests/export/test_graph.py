"""Graphs in ONNX Runtime say what the model says, and others are not written."""

import json
from functools import cache
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_models import FLOWS, TRACKS, model_of, racing
from onnx import numpy_helper

from salt.batch import JetBatch
from salt.errors import SaltError
from salt.export.cases import make_cases, together
from salt.export.export import export_model
from salt.export.graph import to_onnx
from salt.export.metadata import Origin
from salt.export.parity import compare
from salt.export.plan import Wishes, make_plan
from salt.ragged import Ragged

ORIGIN = Origin("run/ckpts/last.ckpt", "0" * 64, 12, "EMA of decay 0.9", True, "run")
SIZES = (0, 1, 2, 7, 40, 200)


def random_jet(rng, *counts):
    jet = rng.normal(0, 2, (1, 2)).astype("f4")
    return [jet, *(rng.normal(0, 2, (n, width)).astype("f4") for n, width in zip(counts, (3, 2), strict=False))]


@torch.no_grad()
def expected(model, tensors):
    """Straight from the model, without anything of the export."""
    names = model.constituents
    rows = {
        n: Ragged.from_counts(torch.from_numpy(x), torch.tensor([len(x)]))
        for n, x in zip(names, tensors[1:], strict=True)
    }
    raw = model(JetBatch(torch.from_numpy(tensors[0]), rows, {}, torch.arange(1), {}))
    out = {}
    for name, task in model.named_tasks.items():
        values = task.predict(raw[name])
        if name == "track_origin":
            out["m_TrackOrigin"] = np.stack([v.numpy() for v in values.values()], -1).argmax(-1)
        else:
            out |= {f"m_{key}": v.numpy() for key, v in values.items()}
    return out


@cache
def exported(kind, batched):
    """The model, its plan and the bytes of the file."""
    model = model_of(kind)
    inputs = {"transformer": FLOWS, "jets": {"jets": TRACKS["jets"]}}.get(kind, TRACKS)
    plan = make_plan("m", batched, inputs, model.named_tasks, Wishes())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_model(model, plan, ORIGIN, None, path)
        return model, plan, path.read_bytes()


@pytest.mark.parametrize("kind", ["transformer", "plain", "graph"])
def test_one_jet(kind):
    model, _, content = exported(kind, batched=False)
    session = onnxruntime.InferenceSession(content)
    names = [each.name for each in session.get_inputs()]
    assert names[:2] == ["jet_features", "track_features"]
    rng = np.random.default_rng(3)
    for n in SIZES:
        tensors = random_jet(rng, n, SIZES[-1] - n)[: len(names)]
        found = dict(
            zip(
                [o.name for o in session.get_outputs()],
                session.run(None, dict(zip(names, tensors, strict=True))),
                strict=True,
            )
        )
        for name, value in expected(model, tensors).items():
            if name in ("m_VertexIndex", "m_TrackOrigin"):
                assert found[name].dtype == (np.int64 if name == "m_VertexIndex" else np.int8)
                np.testing.assert_array_equal(found[name], value)
            elif name == "m_true_energy":
                np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
            else:
                assert found[name].shape == ()
                np.testing.assert_allclose(found[name], value[0], rtol=1e-4 if name == "m_mass" else 0, atol=1e-6)
    described = json.loads(
        {each.key: each.value for each in onnx.ModelProto.FromString(content).metadata_props}["gnn_config"]
    )
    assert [each["name"] for each in described["inputs"]] == names
    assert described["inputs"][1]["variables"] == ["d0", "z0", "dphi"]
    assert described["inputs"][1]["max_count"] == 40
    assert [each["name"] for each in described["outputs"]] == [o.name for o in session.get_outputs()]
    assert described["model_name"] == "m"
    assert described["weights"] == {**ORIGIN.__dict__}
    assert described["parity"]["probability"] <= 1e-6
    assert set(described["versions"]) == {"salt", "torch", "onnx", "onnxruntime"}


@pytest.mark.slow  # Tracing sizes that follow from values takes half a minute.
@pytest.mark.parametrize("kind", ["transformer", "graph"])
def test_many_jets_are_each_as_if_alone(kind):
    model, _, content = exported(kind, batched=True)
    session = onnxruntime.InferenceSession(content)
    names = [each.name for each in session.get_inputs()]
    rng = np.random.default_rng(4)
    width = len(names) // 2 + 1
    for number in (1, 3, 50):
        counts = rng.integers(0, 12, (2, number))
        counts[0, 0] = 60
        single = [random_jet(rng, *counts[:, b])[:width] for b in range(number)]
        tensors = [np.concatenate([jet[k] for jet in single]) for k in range(width)]
        offsets = [np.r_[0, np.cumsum(counts[k])] for k in range(width - 1)]
        found = dict(
            zip(
                [o.name for o in session.get_outputs()],
                session.run(None, dict(zip(names, [*tensors, *offsets], strict=True))),
                strict=True,
            )
        )
        alone = [expected(model, jet) for jet in single]
        for name, value in found.items():
            wanted = np.concatenate([one[name] for one in alone])
            assert value.shape == wanted.shape
            np.testing.assert_allclose(
                value,
                wanted,
                rtol=1e-4 if name in ("m_mass", "m_true_energy") else 0,
                atol=1e-5 if name == "m_true_energy" else 1e-6,
            )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "graph"])
def test_many_threads_say_what_one_says(kind):
    """Threads of ONNX Runtime that add to the same row at once would lose some of it, in a few calls of a hundred."""
    content = exported(kind, batched=True)[2]

    def session(threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(content, options)

    one_thread, several = session(1), session(4)
    names = [each.name for each in one_thread.get_inputs()]
    width = len(names) // 2 + 1
    rng = np.random.default_rng(7)
    counts = rng.integers(0, 30, (2, 250))
    tensors = [np.concatenate(rows) for rows in zip(*(random_jet(rng, *n) for n in counts.T), strict=True)][:width]
    offsets = [np.r_[0, np.cumsum(counts[k])] for k in range(width - 1)]
    given = dict(zip(names, [*tensors, *offsets], strict=True))
    alone = one_thread.run(None, given)
    for _ in range(100):
        for one, other in zip(alone, several.run(None, given), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["transformer", "graph"])
def test_nothing_is_added_up_by_an_operator_whose_threads_race(kind):
    """https://github.com/microsoft/onnxruntime/issues/18048; of many jets in the slow tests of packaged models."""
    assert not racing(onnx.load_model_from_string(exported(kind, batched=False)[2]))


def test_sums_and_subsets_are_bound_to_the_right_tensors():
    wishes = Wishes(("flavour",), {"pu": "light"}, {"pheavy": ("pb", "pc")})
    model = model_of("sets")
    plan = make_plan("m", False, TRACKS, model.named_tasks, wishes)
    session = onnxruntime.InferenceSession(to_onnx(model, plan).SerializeToString())
    assert [o.name for o in session.get_outputs()] == ["m_pheavy", "light"]
    tensors = random_jet(np.random.default_rng(0), 5)[:2]
    heavy, light = session.run(None, {"jet_features": tensors[0], "track_features": tensors[1]})
    alone = expected(model, tensors)
    assert heavy == pytest.approx(float(alone["m_pb"][0] + alone["m_pc"][0]), abs=1e-6)
    assert light == pytest.approx(float(alone["m_pu"][0]), abs=1e-6)
    assert heavy + light == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("batched", [False, True])
def test_a_model_without_constituents(batched):
    model, plan, content = exported("jets", batched)
    assert [each.name for each in onnx.ModelProto.FromString(content).graph.input] == ["jet_features"]
    assert compare(model, plan, onnx.ModelProto.FromString(content), make_cases(model, None)).probability <= 1e-6


def test_another_result_is_refused_and_leaves_no_file(tmp_path, monkeypatch):
    model, plan, content = exported("graph", batched=False)
    proto = onnx.ModelProto.FromString(content)
    cases = make_cases(model, None)
    assert compare(model, plan, proto, cases).near == 0
    weight = max(proto.graph.initializer, key=lambda each: prod(each.dims))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.001), weight.name))
    with pytest.raises(SaltError, match=r"not exported: 'm_\w+' of .* (differs by|is another)"):
        compare(model, plan, proto, cases)
    monkeypatch.setattr("salt.export.export.to_onnx", lambda *_: proto)
    kept = tmp_path / "kept.onnx"
    kept.write_bytes(b"before")
    with pytest.raises(SaltError, match="not exported"):
        export_model(model, plan, ORIGIN, None, kept)
    assert kept.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [kept]


def test_integers_may_differ_near_their_cut_only():
    model, plan, content = exported("graph", batched=False)
    proto, cases = onnx.ModelProto.FromString(content), make_cases(model, None)
    bias = list(model.named_tasks["vertices"].rest.parameters())[-1]
    before = bias.detach().clone()
    try:  # From now on PyTorch links other pairs than the graph does.
        bias.data += 0.5
        with pytest.raises(SaltError, match=r"'m_VertexIndex' of .* is another integer for .* not all near a cut"):
            compare(model, plan, proto, cases)
    finally:
        bias.data = before


def test_cases_have_all_numbers_of_constituents_and_each_in_another_order():
    model = model_of("transformer")
    real = together(make_cases(model, None, seed=2)[3:9])
    cases = make_cases(model, real)
    for source in ("a random jet", "a jet of row"):
        for name in ("tracks", "flows"):
            found = {len(c.constituents[name]) for c in cases if c.words.startswith(source)}
            assert found == set(SIZES)
    shuffled = [c for c in cases if c.words.endswith("in another order")]
    assert len(shuffled) == len(cases) / 2
    for one, other in zip(cases, shuffled, strict=False):
        for name, rows in one.constituents.items():
            np.testing.assert_array_equal(np.sort(rows.numpy(), 0), np.sort(other.constituents[name].numpy(), 0))


def test_what_cannot_be_said_in_onnx_is_an_error_of_plain_words():
    model = model_of("sets")

    class Stubborn(type(model.pooling)):
        def forward(self, x):
            return super().forward(x) * (1 if float(x.values.sum()) > 0 else 2)

    model.pooling = Stubborn(embed_dim=16)
    plan = make_plan("m", False, TRACKS, model.named_tasks, Wishes())
    with pytest.raises(SaltError, match="cannot be exported") as error:
        to_onnx(model, plan)
    assert len(str(error.value).splitlines()) == 2
