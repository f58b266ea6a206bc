"""One code of a label must not come to mean two classes unnoticed."""

import numpy as np
import pytest
import torch
from files import CLASSES, FLAVOUR, INPUTS, ORIGIN, make_jets, write_structured

from salt.data.datamodule import JetDataModule
from salt.errors import DataError
from salt.inputs import Target


def module(folder, target=FLAVOUR, weighed=(), **options):
    given = {f"{name}_file": str(folder / f"{name}.h5") for name in ("train", "val", "test")}
    made = JetDataModule(**{"inputs": INPUTS, "batch_size": 50, "num_workers": 0, **given, **options})
    made.bind([target], seed=3, weighed=weighed)
    return made


def write(folder, **classes):
    for i, name in enumerate(("train", "val", "test")):
        tables = make_jets(60, seed=i, first_event=1000 * i)
        write_structured(folder / f"{name}.h5", tables, classes=classes.get(name, CLASSES))


@pytest.mark.parametrize("nameless", ["train", "val"])
def test_training_and_validation_both_name_their_classes_or_none_does(tmp_path, nameless):
    write(tmp_path, **{nameless: None})
    with pytest.raises(DataError) as error:
        module(tmp_path).setup("fit")
    text = str(error.value)
    assert all(word in text for word in (f"{nameless}.h5", "'flavour_label'", "label_map"))
    assert len(text.splitlines()) <= 3
    mapped = Target("jets", "flavour_label", "class", CLASSES, codes=tuple(enumerate(CLASSES)))
    module(tmp_path, mapped).setup("fit")


def test_an_order_that_no_file_states_is_said(tmp_path, caplog):
    write(tmp_path, train=None, val=None, test=None)
    module(tmp_path).setup("fit")
    module(tmp_path).setup("test")
    said = [message for message in caplog.messages if "0 = bjets, 1 = cjets, 2 = ujets" in message]
    assert [name for message in said for name in ("train.h5", "val.h5", "test.h5") if name in message] == [
        "train.h5",
        "test.h5",
    ]


def test_files_of_a_wildcard_may_order_their_classes_differently_but_not_their_weights(tmp_path):
    write(tmp_path, val=CLASSES[::-1])
    (tmp_path / "weights.yaml").write_text("jets: {flavour_label: [1, 2, 3]}")
    several = {"train_file": str(tmp_path / "[tv]*[na]*.h5"), "val_file": None, "test_file": None}
    data = module(tmp_path, **several)
    data.setup("fit")
    assert len(data.files("fit").paths) == 2
    labels = torch.cat([batch.labels[FLAVOUR] for batch in data.train_dataloader()])
    raw = [make_jets(60, seed=i)["jets"]["flavour_label"] for i in (0, 1)]
    assert torch.bincount(labels).tolist() == (np.bincount(raw[0]) + np.bincount(raw[1])[::-1]).tolist()
    with pytest.raises(DataError, match=r"val\.h5.*other codes than in"):
        module(tmp_path, weighed=[FLAVOUR], **several, class_dict=str(tmp_path / "weights.yaml")).setup("fit")


def test_the_class_dict_matters_for_the_labels_that_are_weighed_by_it(tmp_path):
    write(tmp_path)
    path = tmp_path / "weights.yaml"
    path.write_text("jets: {flavour_label: [3, 2, 1]}\ntracks: {ftagTruthOriginLabel: [1, 2]}")
    data = module(tmp_path, class_dict=str(path))
    for weighed in ([], [FLAVOUR]):
        data.bind([FLAVOUR, ORIGIN], seed=3, weighed=weighed)
        data.setup("fit")
        assert data.statistics.class_weights == dict.fromkeys(weighed, (3.0, 2.0, 1.0))
    data.bind([FLAVOUR, ORIGIN], seed=3, weighed=[FLAVOUR, ORIGIN])
    with pytest.raises(DataError, match=r"weights\.yaml: label 'ftagTruthOriginLabel' .* it has 2 weights"):
        data.setup("fit")
