"""Data that teach nothing are named before training."""

import numpy as np
import pytest
from files import INPUTS, TARGETS, make_jets, write_structured

from salt.data.datamodule import JetDataModule
from salt.data.survey import Measure
from salt.errors import DataError
from salt.inputs import Target

LXY = Target("jets", "Lxy", "number")
NORMS = "jets: {pt: {mean: 110, std: 50}, eta: {mean: 0, std: 2}}\ntracks: {d0: {mean: 0, std: 1}, "
NORMS += "z0: {mean: 1, std: 2}, dphi: {mean: 2, std: 3}}"


def doubts(tmp_path, caplog, change=lambda train, val: None, norms=None):
    train, val = make_jets(400), make_jets(300, seed=1, first_event=1000)
    change(train, val)
    write_structured(tmp_path / "train.h5", train)
    write_structured(tmp_path / "val.h5", val)
    options = {}
    if norms is not None:
        (tmp_path / "norms.yaml").write_text(norms)
        options["norm_dict"] = str(tmp_path / "norms.yaml")
    data = JetDataModule(INPUTS, str(tmp_path / "train.h5"), str(tmp_path / "val.h5"), num_workers=0, **options)
    data.bind((*TARGETS, LXY), seed=0)
    data.setup("fit")
    said = [message.replace(str(tmp_path), "FOLDER") for message in caplog.messages]
    return [message for message in said if not message.startswith("data.num_workers")]


def test_good_data_are_not_doubted(tmp_path, caplog):
    assert doubts(tmp_path, caplog) == []


def test_a_constant_variable_with_a_normalisation_that_is_given(tmp_path, caplog):
    def change(train, val):
        train["jets"]["eta"] = 1

    (said,) = doubts(tmp_path, caplog, change, NORMS)
    assert said == (
        "jets.eta is 1 for all of the 400 jets that were looked at in FOLDER/train.h5; it can teach hardly anything"
    )


@pytest.mark.parametrize("others", [2, 10])
def test_a_variable_that_is_almost_always_the_default(tmp_path, caplog, others):
    def change(train, val):
        train["jets"]["pt"][others:] = -999

    said = doubts(tmp_path, caplog, change)
    expected = "jets.pt is -999 for 99.5% of the 400 jets that were looked at in FOLDER/train.h5; it can teach hardly "
    assert said == ([f"{expected}anything"] if others == 2 else [])


def test_classes_that_do_not_occur(tmp_path, caplog):
    def change(train, val):
        flavour = train["jets"]["flavour_label"]
        flavour[flavour == 1] = 0
        origin = val["tracks"]["ftagTruthOriginLabel"]
        origin[origin == 5] = 2

    tracks = make_jets(300, seed=1)["tracks"]["valid"].sum()
    assert doubts(tmp_path, caplog, change) == [
        "class 'cjets' of jets.flavour_label never occurs among the 400 jets that were looked at in FOLDER/train.h5, "
        "but it does among those to validate on; it cannot be learned",
        f"class 'FromC' of tracks.ftagTruthOriginLabel never occurs among the {tracks} constituents of 'tracks' that "
        "were looked at in FOLDER/val.h5; how well it is learned is not seen",
    ]


def test_a_label_that_is_hardly_ever_there(tmp_path, caplog):
    def change(train, val):
        train["jets"]["Lxy"][3:] = np.nan
        train["jets"]["Lxy"][:3] = [1, 2, 3]
        val["jets"]["Lxy"] = np.nan

    assert doubts(tmp_path, caplog, change) == [
        "label jets.Lxy is there for only 0.75% of the 400 jets that were looked at in FOLDER/train.h5",
        "label jets.Lxy is there for none of the 300 jets that were looked at in FOLDER/val.h5",
    ]

    def remove(train, val):
        train["jets"]["Lxy"] = np.nan

    with pytest.raises(DataError, match=r"'Lxy' of input 'jets' is never there in 400 jets"):
        doubts(tmp_path, caplog, remove)


def test_the_usual_value_is_counted_in_all_blocks():
    values = np.random.default_rng(0).choice([0.0, -1.0, 2.5], 3000, p=[0.2, 0.7, 0.1]).astype("f4")
    found = Measure()
    for block in np.split(values, 3):
        found = found.add(block)
    assert (found.usual, found.usual_count) == (-1.0, int((values == -1).sum()))
