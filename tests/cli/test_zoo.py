"""Models by name: those of the package, files, and Python."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import SMALL, Command

from salt.cli.arguments import merge_layers, parse_flags
from salt.cli.configs import load_config, load_model, zoo

DRY = ("--trainer.fast_dev_run=1", "--data.num_workers=0", "--data.batch_size=50")

OWN = """
import copy

SMALL = {"name": "own", "model": {"embed_dim": 8, "pooling": "SumPooling", "tasks": {"flavour": {
    "class_path": "Classification", "input": "jets", "label": "flavour_label", "classes": ("bjets", "cjets", "ujets"),
    "hidden": (4,)}}}}

def wide():
    found = copy.deepcopy(SMALL)
    found["model"]["embed_dim"] = 32
    return found

class Network: ...

NUMBER = 3
ODD = {"model": {"embed_dim": Network}}
broken = lambda: 1 / 0
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with models, of another name for each test, as modules stay imported."""
    name = f"own_models_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def printed(command: Command, *words: str) -> dict[str, object]:
    result = command("fit", *words, "--print_config")
    assert result.code == 0, result.err
    tree: dict[str, object] = yaml.safe_load(result.out)
    return tree


@pytest.mark.parametrize("name", zoo())
def test_the_zoo_has_a_card_of_every_model(name: str, command: Command) -> None:
    result = command("zoo", "show", name)
    assert result.code == 0, result.err
    tree = load_config(name)[0]
    for task, spec in tree["model"]["tasks"].items():
        assert re.search(rf"^{task} +{spec['class_path'].rpartition('.')[2]} ", result.out, re.MULTILINE)
    assert yaml.safe_load(result.out[result.out.index("\n#") :]) == tree
    for said in re.findall("Tried on (.+)", result.out.partition("\n#")[2]):
        assert re.search(rf"^tried on +{re.escape(said)}", result.out, re.MULTILINE)


def test_the_list_has_the_parameters_that_a_training_has(command: Command) -> None:
    listed = {line.split()[0]: line for line in command("zoo", "list").out.splitlines()[1:]}
    assert list(listed) == zoo()
    for name in ("simple", "gnn"):
        result = command("fit", "-m", name, *SMALL, "--trainer.max_epochs=1", "--trainer.limit_train_batches=1")
        all_of_it = re.search(r"^all +([\d,]+) ", result.err, re.MULTILINE)
        assert all_of_it is not None, result.err
        assert f" {all_of_it[1]} " in listed[name]


def test_a_model_lies_beneath_configs_and_flags(command: Command, tmp_path: Path) -> None:
    Path("mine.yaml").write_text("name: mine\nmodel: {embed_dim: 24, tasks: {track_vertexing: null}}\n")
    found = printed(command, "-c", "mine.yaml", "-m", "gn2", "--model.registers", "2")
    expected = printed(command, "-c", "gn2", "-c", "mine.yaml", "--model.registers", "2")
    assert found == expected
    assert (found["name"], found["model"]["embed_dim"]) == ("mine", 24)  # type: ignore[index]
    Path("gn2.yaml").write_text("name: other\nmodel: {embed_dim: 8}\n")
    assert load_model("gn2")["name"] == "gn2"
    assert load_model("gn2.yaml")["name"] == "other"


def test_packaged_configs_that_are_no_model_lie_on_top_of_one() -> None:
    tree = merge_layers(parse_flags(["-c", "finetune", "-m", "pretrain"]), {}).tree
    assert tree == merge_layers(parse_flags(["-c", "pretrain", "-c", "finetune"]), {}).tree
    assert tree["name"] == "finetune"


def test_a_model_in_python(command: Command, own: str) -> None:
    small, wide = (printed(command, "-m", f"{own}:{name}") for name in ("SMALL", "wide"))
    assert (small["model"]["embed_dim"], wide["model"]["embed_dim"]) == (8, 32)  # type: ignore[index]
    result = command("fit", "-m", f"{own}:wide", *DRY)
    assert result.code == 0, result.err
    shown = command("zoo", "show", f"{own}:SMALL").out
    assert re.search(r"^flavour +Classification +jets +own_pb, own_pc, own_pu", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gn3", "unknown model 'gn3' in the zoo; nearest: gnn, gn2"),
        ("base", "unknown model 'base' in the zoo"),
        ("gnm.yaml", "unknown model 'gnm' in the zoo; nearest: gnn"),
        ("models/mine.yaml", "no config file 'models/mine.yaml'"),
        ("on_top.yaml", "on_top.yaml describes no model"),
        ("saved.yaml", "complete config of a run"),
        ("absent_module:model", "cannot import absent_module (ModuleNotFoundError"),
        ("OWN:SMAL", "unknown attribute 'SMAL' of module"),
        ("OWN:NUMBER", "is of type int; it must be a mapping"),
        ("OWN:Network", "is the class Network; it must be a mapping"),
        ("OWN:ODD", "holds what a config cannot"),
        ("OWN:broken", "calling it failed (ZeroDivisionError"),
    ],
)
def test_what_is_no_model(model: str, words: str, command: Command, own: str) -> None:
    Path("on_top.yaml").write_text("trainer: {max_epochs: 2}\n")
    Path("saved.yaml").write_text("config_format: 1\nmodel: {embed_dim: 2}\n")
    for verb in (("fit", "-m"), ("zoo", "show")):
        result = command(*verb, model.replace("OWN", own))
        assert result.code == 2
        assert words in result.err
        assert len(result.err.splitlines()) <= 3


def test_two_models_contradict_each_other(command: Command, run_folder: Path) -> None:
    for config in ("gnn", str(run_folder / "config.yaml")):
        result = command("fit", "-m", "gn2", "--config", config)
        assert result.code == 2
        assert f"-m gn2 and {config} describe a model each" in result.err
    result = command("fit", "-m", "gn2", "--run.run_id", str(run_folder))
    assert result.code == 2
    assert "describe a model each" in result.err
