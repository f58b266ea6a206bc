import json
import logging

import numpy as np
import pytest
import torch
import yaml
from files import FLAVOUR, INPUTS, ORIGIN, TARGETS, TRACK_VARIABLES, make_jets, write_structured, write_umami
from lightning.pytorch import LightningModule, Trainer

from salt.data.datamodule import JetDataModule
from salt.data.workers import advised_workers, worker_doubts
from salt.inputs import Input, Target

# Of Lightning's own making.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


@pytest.fixture
def files(tmp_path):
    for i, name in enumerate(("train", "val", "test")):
        write_structured(tmp_path / f"{name}.h5", make_jets(120, seed=i, first_event=1000 * i))
    return tmp_path


def module(files, **options):
    given = {f"{name}_file": str(files / f"{name}.h5") for name in ("train", "val", "test")}
    made = JetDataModule(**{"inputs": INPUTS, "batch_size": 16, "num_workers": 0, **given, **options})
    made.bind(TARGETS, seed=3, weighed=[FLAVOUR, ORIGIN])
    return made


class Listener(LightningModule):
    """Writes down which rows it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {}

    def training_step(self, batch):
        self.seen.setdefault(("fit", self.current_epoch), []).extend(batch.rows.tolist())
        return self.weight * batch.jets.sum()

    def validation_step(self, batch):
        if not self.trainer.sanity_checking:
            self.seen.setdefault("validate", []).extend(batch.rows.tolist())

    def test_step(self, batch):
        self.seen.setdefault("test", []).extend(batch.rows.tolist())
        assert FLAVOUR not in batch.labels

    def predict_step(self, batch):
        assert not batch.labels
        return batch.rows

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def quiet_trainer(**options):
    return Trainer(
        **{
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "accelerator": "cpu",
            "max_epochs": 2,
            **options,
        }
    )


@pytest.mark.parametrize("batched_read", [True, False])
def test_a_trainer_sees_every_jet(files, batched_read):
    tables = make_jets(50, seed=2)
    tables["jets"] = tables["jets"][["pt", "eta"]]
    write_structured(files / "test.h5", tables, classes=None)
    data, model, trainer = module(files, batched_read=batched_read), Listener(), quiet_trainer()
    trainer.fit(model, datamodule=data)
    first, second = model.seen["fit", 0], model.seen["fit", 1]
    assert first != second
    assert sorted(first) == sorted(second) == list(range(120))
    assert model.seen["validate"] == 2 * list(range(120))
    trainer.validate(model, datamodule=data, verbose=False)
    trainer.test(model, datamodule=data, verbose=False)
    assert model.seen["test"] == list(range(50))
    assert data.missing_targets("test") == (FLAVOUR,)
    assert torch.cat(trainer.predict(model, datamodule=data)).tolist() == list(range(50))


def test_training_without_validation(files):
    data, model = module(files, val_file=None), Listener()
    quiet_trainer(max_epochs=1).fit(model, datamodule=data)
    assert set(model.seen) == {("fit", 0)}


def test_statistics_are_measured_or_given(files):
    data = module(files, num_train=60)
    data.setup("fit")
    jets = make_jets(120, seed=0)["jets"][:60]
    assert data.statistics.inputs["jets"]["pt"].mean == pytest.approx(jets["pt"].astype("f8").mean())
    assert data.statistics.class_counts[FLAVOUR] == tuple(np.bincount(jets["flavour_label"], minlength=3))
    norms = {"jets": {"pt": {"mean": 110, "std": 50}, "eta": {"mean": 0, "std": 2}}}
    norms["tracks"] = {v: {"mean": float(i), "std": 1.0} for i, v in enumerate(TRACK_VARIABLES)}
    (files / "norm.yaml").write_text(yaml.safe_dump(norms))
    (files / "class.yaml").write_text("jets: {flavour_label: [1, 2, 3]}")
    data = module(files, norm_dict=str(files / "norm.yaml"), class_dict=str(files / "class.yaml"))
    data.setup("fit")
    assert data.statistics.inputs["jets"]["pt"].mean == 110
    assert data.statistics.class_weights == {FLAVOUR: (1.0, 2.0, 3.0)}


def doubts(data, caplog):
    with caplog.at_level(logging.WARNING, logger="salt"):
        data.setup("fit")
    return caplog.messages


def test_nothing_to_doubt(files, caplog):
    assert doubts(module(files, num_workers=None), caplog) == []


def test_the_same_jets_twice_are_counted(files, caplog):
    train, val, test = (make_jets(120, seed=i, first_event=1000 * i) for i in range(3))
    for name in train:
        val[name][5:12] = train[name][50:57]
        test[name][:3] = train[name][90:93]
    write_structured(files / "val.h5", val)
    write_structured(files / "test.h5", test)
    found = doubts(module(files, num_workers=None), caplog)
    assert [m[: m.index(" jets")] for m in found] == ["7 of 120 validation", "3 of 120 test"]
    assert all("by event and jet number" in m for m in found)


def test_truth_among_the_inputs_is_named(files, caplog):
    inputs = {**INPUTS, "jets": Input(["pt", "flavour_label"]), "tracks": Input(["d0", "ftagTruthOriginLabel"])}
    found = doubts(module(files, inputs=inputs, num_workers=None), caplog)
    assert len(found) == 1
    assert "jets.flavour_label, tracks.ftagTruthOriginLabel" in found[0]


def test_a_foreign_normalisation_is_doubted(files, caplog):
    norms = {"jets": {"pt": {"mean": 110000, "std": 5000}, "eta": {"mean": 0, "std": 2}}}
    norms["tracks"] = {v: {"mean": 0.0, "std": 1.0} for v in TRACK_VARIABLES}
    (files / "norm.yaml").write_text(yaml.safe_dump(norms))
    found = doubts(module(files, norm_dict=str(files / "norm.yaml"), num_workers=None), caplog)
    assert len(found) == 1
    assert found[0].startswith("data.norm_dict is far from the training file for jets.pt;")


@pytest.mark.parametrize("normalised", [True, False])
def test_umami_values_are_normalised_ones(files, caplog, normalised):
    numbers = {
        "jets": {"pt": (110.0, 52.0), "eta": (0.0, 1.4)},
        "tracks": {"d0": (0.0, 1.0), "z0": (1.0, 2.0), "dphi": (2.0, 3.0)},
    }
    far = {name: dict.fromkeys(table, (-50.0, 0.1)) for name, table in numbers.items()}
    scale = {name: {v: {"shift": a, "scale": b} for v, (a, b) in table.items()} for name, table in numbers.items()}
    (files / "scale.json").write_text(json.dumps(scale))
    for i, name in enumerate(("train", "val", "test")):
        write_umami(files / f"{name}.h5", make_jets(120, seed=i), numbers if normalised else far)
    data = module(files, norm_dict=str(files / "scale.json"), num_workers=None)
    found = doubts(data, caplog)
    assert len(found) == (0 if normalised else 1)
    if normalised:
        pt = torch.cat([b.jets[:, 0] for b in data.val_dataloader()]).numpy()
        assert np.allclose(pt, make_jets(120, seed=1)["jets"]["pt"], rtol=1e-6)
    else:
        assert "do not look normalised" in found[0]


def test_workers():
    assert [advised_workers(cores, 1) for cores in (1, 2, 4, 64)] == [0, 1, 3, 4]
    assert advised_workers(16, 8) == 1
    assert worker_doubts(3, 8, 1) == ["data.num_workers is 3 on 8 cores; training may wait for data; try 4"]
    assert worker_doubts(9, 8, 1) == ["data.num_workers is 9, more than the 8 cores here; try 4"]
    assert worker_doubts(6, 8, 1) == []
    assert "for each of 4 training processes" in worker_doubts(3, 8, 4)[0]


@pytest.mark.parametrize("stage", ["copy", "packed"])
def test_what_is_staged_comes_and_goes(files, tmp_path, stage):
    folder = tmp_path / "fast"
    plain, data = module(files), module(files, move_files_temp=str(folder), stage=stage)

    class Look(Listener):
        def on_train_start(self):
            self.staged = {p.name: len(list(p.iterdir())) for p in folder.iterdir() if p.is_dir()}

    expected, model = Listener(), Look()
    quiet_trainer().fit(expected, datamodule=plain)
    quiet_trainer().fit(model, datamodule=data)
    assert sorted(model.staged.values()) == ([2, 2] if stage == "copy" else [10, 10])
    assert model.seen == expected.seen
    assert list(folder.iterdir()) == []
    assert data.describe() == plain.describe()

    class Fails(Look):
        def training_step(self, batch):
            assert self.staged
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        quiet_trainer().fit(Fails(), datamodule=data)
    assert list(folder.iterdir()) == []
    none = module(files, move_files_temp=str(tmp_path / "none"), stage=stage)
    quiet_trainer(fast_dev_run=1).fit(Listener(), datamodule=none)
    assert not (tmp_path / "none").exists()


def test_description(files):
    data = module(files, inputs={**INPUTS, "jets": Input(["pt", "eta"], selection=["pt > 100"])})
    data.setup("fit")
    described = data.describe()
    assert set(described) == {"train", "val"}
    assert described["train"]["jets"] == int((make_jets(120, seed=0)["jets"]["pt"] > 100).sum())
    file = described["val"]["files"][0]
    assert (file["format"], file["rows"], file["size"]) == ("structured", 120, (files / "val.h5").stat().st_size)
    assert yaml.safe_load(yaml.safe_dump(described)) == described


def test_classes_of_no_interest_are_scored_in_test(files):
    target = Target("jets", "flavour_label", "class", ("bjets", "ujets"))
    data = module(files)
    data.bind([target, ORIGIN], seed=0)
    data.setup("test")
    labels = torch.cat([b.labels[target] for b in data.test_dataloader()]).tolist()
    assert labels == [[0, -1, 1][c] for c in make_jets(120, seed=2)["jets"]["flavour_label"]]
