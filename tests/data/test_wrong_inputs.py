"""A table of mistakes: each ends in at most three plain lines that name the culprit, before the first step."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from files import FLAVOUR, INPUTS, ORIGIN, TARGETS, TRACK_VARIABLES, make_jets, write_structured
from numpy.lib import recfunctions

from salt.data.datamodule import JetDataModule
from salt.errors import SaltError
from salt.inputs import Input, Target

NORMS: dict[str, Any] = {
    "jets": {"pt": {"mean": 110, "std": 50}, "eta": {"mean": 0, "std": 2}},
    "tracks": {v: {"mean": 1.0, "std": 2.0} for v in TRACK_VARIABLES},
}


@dataclass
class Case:
    """One mistake: the options, what is done to the training file, and words that the message must have."""

    name: str
    words: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    change: Callable[[dict[str, Any]], None] | None = None
    spoil: Callable[[Path], None] | None = None
    targets: tuple[Target, ...] = TARGETS
    norms: Any = None
    classes: Any = None
    stage: str = "fit"


def put(table, variable, row, value):
    def change(tables):
        entry = tables[table][variable]
        if table == "tracks":
            tables[table]["valid"][row, 0] = True
            entry[row, 0] = value
        else:
            entry[row] = value

    return change


def retype(table, variable, dtype, value):
    def change(tables):
        old = tables[table]
        new = np.zeros(old.shape, [(n, dtype if n == variable else old.dtype[n]) for n in old.dtype.names])
        for name in old.dtype.names:
            new[name] = value if name == variable else old[name]
        tables[table] = new

    return change


def drop(table, variable):
    def change(tables):
        tables[table] = recfunctions.repack_fields(
            tables[table][[n for n in tables[table].dtype.names if n != variable]]
        )

    return change


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def norms(table, variable, entry):
    changed = {name: dict(values) for name, values in NORMS.items()}
    if entry is None:
        del changed[table][variable]
    else:
        changed[table][variable] = entry
    return changed


def flavour(**options):
    return (Target("jets", "flavour_label", "class", **{"classes": ("bjets", "cjets", "ujets"), **options}),)


TRAIN = "train.h5"
CASES = [
    Case("missing file", ("data.train_file", "'trian.h5'", "nearest: train.h5"), {"train_file": "{}/trian.h5"}),
    Case("missing folder", ("data.val_file", "nowhere"), {"val_file": "{}/nowhere/val.h5"}),
    Case("empty wildcard", ("data.train_file", "'trein_*.h5'"), {"train_file": "{}/trein_*.h5"}),
    Case("folder", ("data.train_file", "is a folder"), {"train_file": "{}"}),
    Case(
        "no such sample",
        ("data.train_file", "unknown sample 'trian'", "nearest: train"),
        {"train_file": "sample:trian"},
    ),
    Case("no training file", ("data.train_file is not given",), {"train_file": None}),
    Case("no test file", ("data.test_file is not given",), {"test_file": None}, stage="test"),
    Case("truncated file", (TRAIN, "not a complete HDF5 file"), spoil=cut),
    Case("text file", (TRAIN, "not a complete HDF5 file"), spoil=lambda p: p.write_text("jets")),
    Case("empty HDF5", (TRAIN, "no known format"), spoil=lambda p: h5py.File(p, "w").close()),
    Case("dataset", ("input 'muons'", "'muons'", TRAIN), {"inputs": {**INPUTS, "muons": Input(["pt"])}}),
    Case(
        "dataset by name",
        ("'tracks_los'", "nearest: tracks"),
        {"inputs": {**INPUTS, "tracks": Input(["d0"], "tracks_los")}},
    ),
    Case("jets as constituents", ("'soft'", "'jets'"), {"inputs": {**INPUTS, "soft": Input(["pt"], "jets")}}),
    Case("variable", ("'dd0'", "'tracks'", "nearest: d0", TRAIN), {"inputs": {**INPUTS, "tracks": Input(["dd0"])}}),
    Case("variable in later file", ("'z0'", "val.h5"), {"val_file": "{}/lacks_val.h5"}),
    Case(
        "label",
        ("label 'flavor_label'", "nearest: flavour_label", TRAIN),
        targets=(Target("jets", "flavor_label", "index"),),
    ),
    Case("label of no input", ("'muons'", "data.inputs"), targets=(Target("muons", "x", "index"),)),
    Case("real label", ("'pt'", "integer", TRAIN), targets=(Target("jets", "pt", "index"),)),
    Case("text input", ("'eta'", "'jets'", "text", TRAIN), change=retype("jets", "eta", "S8", b"1.0")),
    Case("compound input", ("'eta'", "must be a number", TRAIN), change=retype("jets", "eta", [("a", "f4")], 0)),
    Case("array input", ("'d0'", "must be a number"), change=retype("tracks", "d0", ("f4", (2,)), 0)),
    Case("no valid flag", ("'tracks'", "'valid'", TRAIN), change=drop("tracks", "valid")),
    Case("NaN in jets", ("'pt'", "'jets'", "nan", "row 17", TRAIN), change=put("jets", "pt", 17, np.nan)),
    Case("inf in tracks", ("'d0'", "'tracks'", "inf", "row 23", TRAIN), change=put("tracks", "d0", 23, np.inf)),
    Case("overflow", ("'pt'", "1e+300", "float32", "row 0", TRAIN), change=retype("jets", "pt", "f8", 1e300)),
    Case(
        "unknown code",
        ("'flavour_label'", "7", "row 31", "ignore_classes", TRAIN),
        change=put("jets", "flavour_label", 31, 7),
    ),
    Case(
        "class left out",
        ("'flavour_label'", "'cjets'", "ignore_classes"),
        targets=flavour(classes=("bjets", "ujets")),
    ),
    Case(
        "class not in the file",
        ("'bjet'", "nearest: bjets", TRAIN),
        targets=flavour(classes=("bjet", "cjets", "ujets")),
    ),
    Case(
        "class of no standard",
        ("'FromBeauty'", "'ftagTruthOriginLabel'", "FromB"),
        targets=(Target("tracks", "ftagTruthOriginLabel", "class", ("FromBeauty",)),),
    ),
    Case("ignored class not in the file", ("'taujet'", TRAIN), targets=flavour(ignore=("taujet",))),
    Case("class also ignored", ("bjets", "ignore_classes"), targets=flavour(ignore=("bjets",))),
    Case(
        "codes contradict", ("'flavour_label'", "code 0", "'ujets'", "'bjets'"), targets=flavour(codes=((0, "ujets"),))
    ),
    Case(
        "log of nothing",
        ("'Lxy'", "positive", "row 4"),
        targets=(Target("jets", "Lxy", "number", log=True),),
        change=put("jets", "Lxy", 4, 0),
    ),
    Case(
        "constant target",
        ("'jetNumber'", "constant"),
        targets=(Target("jets", "jetNumber", "number"),),
        change=put("jets", "jetNumber", slice(None), 1),
    ),
    Case("constant input", ("'eta'", "'jets'", "normalised"), change=put("jets", "eta", slice(None), 1)),
    Case("no constituents", ("'tracks'", "no constituents"), change=lambda t: t["tracks"]["valid"].fill(False)),
    Case("zero jets", ("there are no jets", TRAIN), change=lambda t: t.update({k: v[:0] for k, v in t.items()})),
    Case(
        "no jet selected",
        ("no jets that pass", TRAIN),
        {"inputs": {**INPUTS, "jets": Input(["pt"], selection=["pt > 1e6"])}},
    ),
    Case("more than there are", ("data.num_train is 1000", "80", TRAIN), {"num_train": 1000}),
    Case(
        "more than pass",
        ("data.num_val is 80", "pass the selection"),
        {"num_val": 80, "inputs": {**INPUTS, "jets": Input(["pt"], selection=["pt > 100"])}},
    ),
    Case("rows differ", ("'tracks'", "70", "80", TRAIN), change=lambda t: t.update(tracks=t["tracks"][:70])),
    Case("same file twice", ("data.train_file", "data.val_file", TRAIN), {"val_file": "{}/../{name}/train.h5"}),
    Case("tested on training", ("data.train_file", "data.test_file", TRAIN), {"test_file": "{}/tr*.h5"}),
    Case(
        "condition",
        ("data.inputs.jets.selection", "'pt >> 3'"),
        {"inputs": {**INPUTS, "jets": Input(["pt"], selection=["pt >> 3"])}},
    ),
    Case(
        "condition on nothing",
        ("'ptt'", "nearest: pt", TRAIN),
        {"inputs": {**INPUTS, "jets": Input(["pt"], selection=["ptt > 3"])}},
    ),
    Case("no jets input", ("data.inputs", "'jets'"), {"inputs": {"tracks": Input(["d0"])}}),
    Case("weak singles", ("shuffle", "batched_read"), {"shuffle": "weak", "batched_read": False}),
    Case("unknown shuffle", ("'week'", "nearest: weak"), {"shuffle": "week"}),
    Case("batch size", ("data.batch_size is 0",), {"batch_size": 0}),
    Case("no jets wanted", ("data.num_train is 0",), {"num_train": 0}),
    Case("negative workers", ("data.num_workers is -1",), {"num_workers": -1}),
    Case("missing norm file", ("data.norm_dict", "nearest: norm.yaml"), {"norm_dict": "{}/norms.yaml"}, norms=NORMS),
    Case("norm without input", ("'tracks'", "norm.yaml"), norms={"jets": NORMS["jets"], "track": NORMS["tracks"]}),
    Case("norm without variable", ("'d0'", "'tracks'", "norm.yaml"), norms=norms("tracks", "d0", None)),
    Case(
        "norm without spread",
        ("'z0'", "'tracks'", "std 0", "norm.yaml"),
        norms=norms("tracks", "z0", {"mean": 1, "std": 0}),
    ),
    Case(
        "norm not finite", ("'z0'", "mean", "norm.yaml"), norms=norms("tracks", "z0", {"mean": float("nan"), "std": 1})
    ),
    Case("norm is text", ("'pt'", "'large'", "norm.yaml"), norms=norms("jets", "pt", {"mean": "large", "std": 1})),
    Case("norm is half", ("'pt'", "mean and std"), norms=norms("jets", "pt", {"mean": 1})),
    Case("norm is a list", ("norm.yaml", "table"), norms=[1, 2]),
    Case("norm is no YAML", ("data.norm_dict", "cannot be read"), norms="{"),
    Case(
        "weights of other classes",
        ("'flavour_label'", "2 weights", "list of 3"),
        classes={"jets": {"flavour_label": [1, 2]}},
    ),
    Case("weights below zero", ("'flavour_label'", "negative"), classes={"jets": {"flavour_label": [1, -2, 1]}}),
    Case("no such reader", ("data.reader", "salt.data.Nothing"), {"reader": "salt.data.Nothing"}),
    Case("too large to copy", ("data.move_files_temp", "10 bytes"), {"move_files_temp": "{}/fast"}),
    Case("too large to pack", ("data.move_files_temp", "10 bytes"), {"move_files_temp": "{}/fast", "stage": "packed"}),
    Case("pack to nowhere", ("data.stage: packed", "--data.move_files_temp"), {"stage": "packed"}),
    Case("no such stage", ("data.stage", "'pack'", "packed"), {"move_files_temp": "{}/fast", "stage": "pack"}),
    Case(
        "no such weight",
        ("loss weight 'Lxyz' in dataset 'jets'", "nearest: Lxy", TRAIN),
        targets=(Target("jets", "Lxyz", "weight"),),
    ),
    Case(
        "negative weight",
        ("loss weight 'pt' of input 'jets' is -2.0 in row 41", "at least 0", TRAIN),
        targets=(Target("jets", "pt", "weight"),),
        change=put("jets", "pt", 41, -2),
    ),
    Case(
        "NaN weight",
        ("loss weight 'Lxy' of input 'jets' is nan in row", "data.inputs.jets.selection", TRAIN),
        targets=(Target("jets", "Lxy", "weight"),),
    ),
    Case(
        "infinite level",
        ("loss weight 'dphi' of input 'tracks' is inf in row 23; it must be finite", TRAIN),
        {"inputs": {**INPUTS, "tracks": Input(["d0"])}},
        targets=(Target("tracks", "dphi", "level"),),
        change=put("tracks", "dphi", 23, np.inf),
    ),
    Case("copy under a file", ("data.move_files_temp",), {"move_files_temp": "{}/val.h5/fast"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name.replace(" ", "-"))
def test_it_is_said_plainly(case, tmp_path, monkeypatch):
    tables = make_jets(80)
    if case.change:
        case.change(tables)
    write_structured(tmp_path / "train.h5", tables)
    write_structured(tmp_path / "val.h5", make_jets(80, seed=1, first_event=1000))
    lacking = make_jets(80, seed=1, first_event=1000)
    drop("tracks", "z0")(lacking)
    write_structured(tmp_path / "lacks_val.h5", lacking)
    if case.spoil:
        case.spoil(tmp_path / "train.h5")
    options = {
        "inputs": INPUTS,
        "num_workers": 0,
        "train_file": "{}/train.h5",
        "val_file": "{}/val.h5",
        "batch_size": 16,
    }
    for key, content in (("norm", case.norms), ("class", case.classes)):
        if content is not None:
            text = content if isinstance(content, str) else yaml.safe_dump(content)
            (tmp_path / f"{key}.yaml").write_text(text)
            options[f"{key}_dict"] = f"{{}}/{key}.yaml"
    options.update(case.options)
    for key, value in options.items():
        if isinstance(value, str):
            options[key] = value.replace("{}", str(tmp_path)).replace("{name}", tmp_path.name)
    if case.name.startswith("too large to"):
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10))
    with pytest.raises(SaltError) as error:
        set_up(options, case)
    message = str(error.value)
    assert len(message.splitlines()) <= 3
    for word in case.words:
        assert word in message
    assert not (tmp_path / "fast").exists() or not list((tmp_path / "fast").iterdir())


def set_up(options, case):
    data = JetDataModule(**options)
    data.bind(case.targets, seed=0, weighed=[t for t in case.targets if t.kind == "class"])
    data.setup(case.stage)


def test_what_a_test_forgives(tmp_path):
    """Labels that are missing, unknown or of other classes do not stop a test."""
    tables = make_jets(80)
    tables["jets"]["flavour_label"][3] = 9
    drop("tracks", "ftagTruthOriginLabel")(tables)
    path = write_structured(tmp_path / "test.h5", tables, classes=("bjets", "cjets", "others"))
    data = JetDataModule(INPUTS, test_file=str(path), num_workers=0)
    data.bind(TARGETS, seed=0)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert data.missing_targets("test") == (ORIGIN,)
    assert ORIGIN not in batch.labels
    expected = np.where(tables["jets"]["flavour_label"] < 2, tables["jets"]["flavour_label"], -1)
    assert np.array_equal(batch.labels[FLAVOUR], expected)


def test_weights_that_a_test_forgives(tmp_path):
    """One that is missing leaves its losses out; one that is no weight counts as 0. Constant weights are no mistake."""
    tables = make_jets(80)
    tables["jets"]["pt"] = 1.0
    train = write_structured(tmp_path / "train.h5", tables)
    tables["jets"]["pt"][5:7] = np.nan, -1
    path = write_structured(tmp_path / "test.h5", tables)
    weight, absent = Target("jets", "pt", "weight"), Target("jets", "w", "weight")
    data = JetDataModule({**INPUTS, "jets": Input(["eta"])}, train_file=str(train), test_file=str(path), num_workers=0)
    data.bind([weight], seed=0)
    data.setup("fit")
    assert sum(len(batch) for batch in data.sample()) == 80
    data.bind([weight, absent], seed=0)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert data.missing_targets("test") == (absent,)
    assert set(batch.labels) == {weight}
    assert np.flatnonzero(batch.labels[weight] == 0).tolist() == [5, 6]
