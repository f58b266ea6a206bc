import numpy as np
import pytest
import yaml
from files import FLAVOUR, INPUTS, ORIGIN, TARGETS, TRACK_VARIABLES, make_jets, write_structured

from salt.data.formats import open_reader
from salt.data.norms import dump_norms, input_scales, load_class_weights, load_norms
from salt.data.source import Source
from salt.data.survey import number_scales, scales_of, spread_blocks, survey
from salt.errors import DataError
from salt.inputs import Input, Target
from salt.statistics import Scale

LXY = Target("jets", "Lxy", "number", log=True)


def surveyed(path, by_number=False, most=100_000):
    source = Source("data.train_file", [open_reader(path, {})], INPUTS, (*TARGETS, LXY))
    return survey(source, by_number, most)


def test_statistics_are_numpys(tmp_path):
    tables = make_jets(2500, scattered=True)
    found = surveyed(write_structured(tmp_path / "a.h5", tables))
    scales = scales_of(found, "data.train_file")
    tracks = tables["tracks"][tables["tracks"]["valid"]]
    for name, records in (("jets", tables["jets"]), ("tracks", tracks)):
        for variable in INPUTS[name].variables:
            values = records[variable].astype("f8")
            assert scales[name][variable].mean == pytest.approx(values.mean(), rel=1e-12)
            assert scales[name][variable].std == pytest.approx(values.std(), rel=1e-12)
    assert found.class_counts[FLAVOUR] == tuple(np.bincount(tables["jets"]["flavour_label"], minlength=3))
    assert found.class_counts[ORIGIN] == tuple(np.bincount(tracks["ftagTruthOriginLabel"], minlength=8))
    logs = np.log(tables["jets"]["Lxy"].astype("f8"))
    scale = number_scales(found, "data.train_file")[LXY]
    assert (scale.mean, scale.std) == pytest.approx((np.nanmean(logs), np.nanstd(logs)), rel=1e-12)
    assert found.num_jets == 2500


def test_a_large_file_is_looked_at_evenly():
    blocks = list(spread_blocks(10_000_000, 100_000))
    assert sum(map(len, blocks)) == 100_000
    assert (blocks[0][0], blocks[-1][-1]) == (0, 9_999_999)
    assert np.array_equal(np.concatenate(list(spread_blocks(2345, 100_000))), np.arange(2345))


@pytest.mark.parametrize("by_number", [True, False])
def test_fingerprints_find_the_same_jets(tmp_path, by_number):
    first, second = make_jets(500, seed=1), make_jets(400, seed=2, first_event=10_000)
    for name in first:
        second[name][:37] = first[name][100:137]
    one = surveyed(write_structured(tmp_path / "a.h5", first), by_number)
    other = surveyed(write_structured(tmp_path / "b.h5", second, compression="gzip"), by_number)
    assert len(np.unique(one.fingerprints)) == 500
    assert len(np.intersect1d(one.fingerprints, other.fingerprints)) == 37


def test_a_constant_is_named(tmp_path):
    tables = make_jets(1500)
    tables["tracks"]["z0"] = 0.1
    with pytest.raises(DataError, match=r"'z0' of input 'tracks' is 0\.1 in all of 1500"):
        scales_of(surveyed(write_structured(tmp_path / "a.h5", tables)), "data.train_file")


def test_normalisation_survives_its_file(tmp_path):
    scales = scales_of(surveyed(write_structured(tmp_path / "a.h5", make_jets(100))), "data.train_file")
    dump_norms(scales, tmp_path / "norm_dict.yaml")
    assert input_scales(load_norms(tmp_path / "norm_dict.yaml"), INPUTS, tmp_path / "norm_dict.yaml") == scales
    assert list(yaml.safe_load((tmp_path / "norm_dict.yaml").read_text())["tracks"]) == list(TRACK_VARIABLES)


def test_scale_dict_of_umami_and_numbers_that_yaml_takes_for_text(tmp_path):
    (tmp_path / "scale.json").write_text('{"jets": {"pt": {"shift": 1, "scale": 2e-5}}}')
    (tmp_path / "norm.yaml").write_text("jets: {pt: {mean: 1, std: 2e-5}}")
    for name in ("scale.json", "norm.yaml"):
        scales = input_scales(load_norms(tmp_path / name), {"jets": Input(["pt"])}, tmp_path / name)
        assert scales == {"jets": {"pt": Scale(1.0, 2e-5)}}


def test_class_weights_follow_the_codes_of_the_file(tmp_path):
    path = tmp_path / "class_dict.yaml"
    path.write_text("jets: {flavour_label: [1.0, 2, 3.5], id: [4, 5, 6], other: [1]}\nmuons: {x: [1]}")
    turned = Target("jets", "flavour_label", "class", ("ujets", "bjets", "cjets"))
    fewer = Target("jets", "flavour_label", "class", ("ujets", "bjets"), ignore=("cjets",))
    standard = Target("jets", "id", "class", ("bjets", "cjets", "ujets"))
    names = tuple(enumerate(("bjets", "cjets", "ujets")))
    codes = {turned: names, fewer: names, standard: ((0, "ujets"), (4, "cjets"), (5, "bjets"), (15, "taujets"))}
    weights = load_class_weights(str(path), INPUTS, codes)
    assert weights == {turned: (3.5, 1.0, 2.0), fewer: (3.5, 1.0), standard: (6.0, 5.0, 4.0)}
