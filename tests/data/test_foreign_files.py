"""Files that the field's own tools write."""

import h5py
import numpy as np
import pytest
import torch
import yaml
from ftag import get_mock_file
from upp_case import preprocess

from salt.data.datamodule import JetDataModule
from salt.inputs import Input, Target

TRACKS = ["d0", "z0SinTheta", "dphi", "deta", "qOverP"]
CODES = ((0, "ujets"), (4, "cjets"), (5, "bjets"))


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    path = tmp_path_factory.mktemp("ftag") / "mock.h5"
    get_mock_file(3000, fname=str(path))[1].close()
    return path


def test_mock_file_of_ftag(mock):
    target = Target("jets", "flavour_label", "class", ("bjets", "cjets", "ujets"), CODES)
    inputs = {"jets": Input(["pt", "eta"]), "tracks": Input(TRACKS, max_count=15)}
    data = JetDataModule(inputs, str(mock), batch_size=500, num_workers=0)
    data.bind([target], seed=0)
    data.setup("fit")
    with h5py.File(mock) as file:
        jets, tracks = file["jets"][:], file["tracks"][:]
    assert not (np.diff(tracks["valid"].astype(int), axis=1) <= 0).all(), "valid entries are meant to be scattered"
    assert set(np.unique(jets["flavour_label"])) == {0, 4, 5}
    for batch in data.train_dataloader():
        rows = batch.rows.numpy()
        expected = [{5: 0, 4: 1, 0: 2}[int(code)] for code in jets["flavour_label"][rows]]
        assert batch.labels[target].tolist() == expected
        packed = batch.constituents["tracks"]
        assert packed.host_counts.tolist() == np.minimum(tracks["valid"][rows].sum(1), 15).tolist()
        first = np.concatenate([tracks["d0"][row][tracks["valid"][row]][:15] for row in rows])
        assert torch.equal(packed.values[:, 0], torch.from_numpy(first))


def test_file_preprocessed_by_upp(tmp_path):
    preprocess(tmp_path, "train")
    target = Target("jets", "flavour_label", "class", ("ujets", "cjets", "bjets"))
    files = {f"{name}_dict": str(tmp_path / "out" / f"{name}_dict.yaml") for name in ("norm", "class")}
    inputs = {"jets": Input(["pt_btagJes", "eta_btagJes"]), "tracks": Input(TRACKS)}
    data = JetDataModule(inputs, str(tmp_path / "out" / "pp_output_*.h5"), batch_size=400, num_workers=0, **files)
    data.bind([target], seed=0, weighed=[target])
    data.setup("fit")
    assert data.statistics.class_counts[target] == (400, 400, 400)
    given = yaml.safe_load((tmp_path / "out" / "class_dict.yaml").read_text())["jets"]["flavour_label"]
    assert data.statistics.class_weights[target] == tuple(given[::-1])  # the file has bjets, cjets, ujets
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    tracks = torch.cat([b.constituents["tracks"].values for b in batches])
    for i, variable in enumerate(TRACKS):
        scale = data.statistics.inputs["tracks"][variable]
        normalised = (tracks[:, i].double() - scale.mean) / scale.std
        assert abs(normalised.mean()) < 0.05
        assert normalised.std() == pytest.approx(1, abs=0.05)
