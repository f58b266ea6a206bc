from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salt.cli.arguments import (
    Arguments,
    adopt_comet_names,
    merge_layers,
    parse_flags,
    read_environment,
)
from salt.cli.configs import load_config, packaged_configs
from salt.cli.short_forms import FORMS
from salt.errors import ConfigError

OPTIONS = ["trainer.max_epochs", "trainer.logger", "data.batch_size", "data.num_workers", "seed_everything"]
TREE: dict[str, Any] = {"model": {"tasks": {"track_origin": {"class_path": "C", "init_args": {"weight": 0.5}}}}}


def test_flags_make_a_tree() -> None:
    arguments = parse_flags(
        [
            "--config",
            "a.yaml",
            "-c=b.yaml",
            "--data.batch_size=5",
            "--trainer.devices",
            "[1]",
            "--data.norm_dict",
            "null",
        ]
    )
    assert arguments.configs == ("a.yaml", "b.yaml")
    assert arguments.flags == {"data": {"batch_size": "5", "norm_dict": None}, "trainer": {"devices": [1]}}


def test_a_negative_number_is_a_value() -> None:
    assert parse_flags(["--data.num_train", "-1"]).flags == {"data": {"num_train": "-1"}}


@pytest.mark.parametrize("words", [["stray"], ["--name"], ["--name", "--data.x=1"], ["-q", "5"]])
def test_words_that_are_no_option(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_flags(words)


@pytest.mark.parametrize("name", ["gnn", "gnn.yaml", "configs/gnn.yaml"])
def test_packaged_configs_go_by_name_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree, path = load_config(name)
    assert tree["name"] == "gnn"
    assert path is None


def test_an_own_file_wins_over_a_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gnn.yaml").write_text("name: mine\n")
    assert load_config("gnn.yaml")[0] == {"name": "mine"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [1", "is not YAML"), ("- 1", "holds a list"), ("data: {1: 2}", "put it in quotes")],
)
def test_broken_configs_are_named(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        load_config(str(file))
    assert str(file) in str(error.value)


def test_base_lies_beneath_all_but_saved_configs(tmp_path: Path) -> None:
    own, saved = tmp_path / "own.yaml", tmp_path / "config.yaml"
    own.write_text("name: own\n")
    saved.write_text("config_format: 1\nname: saved\n")
    with_base = merge_layers(Arguments((str(own),)), {})
    assert with_base.tree["seed_everything"] == 42
    assert with_base.run is None
    without = merge_layers(Arguments((str(saved),), {"name": "flag"}), {})
    assert without.tree == {"name": "flag"}
    assert without.run == tmp_path


def test_what_is_asked_for_on_top_of_a_saved_config(tmp_path: Path) -> None:
    own, saved = tmp_path / "own.yaml", tmp_path / "config.yaml"
    own.write_text("trainer: {precision: bf16-mixed}\n")
    saved.write_text("config_format: 1\ntrainer: {precision: 16-mixed, devices: 4}\n")
    flags = {"trainer": {"devices": "1"}}
    assert merge_layers(Arguments((str(own), str(saved)), flags), {}).asked == flags
    on_top = merge_layers(Arguments((str(saved), str(own)), flags), {}).asked
    assert on_top == {"trainer": {"precision": "bf16-mixed", "devices": "1"}}


def test_a_server_takes_the_place_of_files_named_beneath_it(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("data: {train_file: a.h5, num_train: 5}")

    def files(configs: tuple[str, ...], **flags: str) -> list[str | None]:
        data = merge_layers(Arguments(configs, {"data": flags}), {}).tree["data"]
        return [data.get(key) for key in ("source", "train_file", "val_file", "test_file")]

    assert files((str(own),), source="unix:s") == ["unix:s", None, None, None]
    assert files((str(own),), source="unix:s", test_file="t.h5") == ["unix:s", None, None, "t.h5"]
    saved = tmp_path / "config.yaml"
    saved.write_text("config_format: 1\ndata: {source: unix:s, train_file: null, val_file: null, test_file: null}")
    assert files((str(saved),), test_file="t.h5") == ["unix:s", None, None, "t.h5"]
    assert files((str(saved), str(own))) == ["unix:s", "a.h5", None, None]


def test_a_config_of_a_later_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("config_format: 99\n")
    with pytest.raises(ConfigError, match="config_format 99"):
        merge_layers(Arguments((str(tmp_path / "config.yaml"),)), {})


def test_files_win_over_the_environment_and_flags_over_files(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("data: {batch_size: 2}\n")
    arguments = Arguments((str(own),), {"data": {"num_workers": "3"}})
    environment = {"data": {"batch_size": "1", "num_workers": "1", "num_val": "1"}}
    data = merge_layers(arguments, environment).tree["data"]
    assert (data["batch_size"], data["num_workers"], data["num_val"]) == (2, "3", "1")


def environment(monkeypatch: pytest.MonkeyPatch, verb: str = "fit", **names: str) -> dict[str, Any]:
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    return read_environment(OPTIONS, [TREE], verb)


def test_environment_names_are_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment(
        monkeypatch, PL_TRAINER__MAX_EPOCHS="4", PL_FIT__DATA__BATCH_SIZE="7", PL_TEST__DATA__NUM_WORKERS="1"
    ) == {"trainer": {"max_epochs": "4"}, "data": {"batch_size": "7"}}


def test_environment_reaches_arguments_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = environment(monkeypatch, PL_MODEL__TASKS__TRACK_ORIGIN__WEIGHT="2")
    assert tree == {"model": {"tasks": {"track_origin": {"weight": "2"}}}}


@pytest.mark.parametrize("name", ["PL_TRAINER__MAX_EPOCH", "PL_FIT__TRAINER__MAX_EPOCH", "PL_TEST__TRAINER__MAX_EPOCH"])
def test_a_misspelt_name_offers_the_nearest(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="nearest: PL_TRAINER__MAX_EPOCHS") as error:
        environment(monkeypatch, **{name: "3"})
    assert name in str(error.value)


def test_names_of_lightning_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment(monkeypatch, PL_GLOBAL_SEED="3", PL_RECONCILE_PROCESS="1") == {}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("PL_TRAINER__LOGGER__API_KEY", "COMET_API_KEY"),
        ("PL_TRAINER__LOGGER_WORKSPACE", "COMET_WORKSPACE"),
        ("PL_TRAINER__LOGGER__WORKSPACE", "COMET_WORKSPACE"),
        ("PL_FIT__TRAINER__LOGGER__API_KEY", "COMET_API_KEY"),
    ],
)
def test_comet_is_set_up_by_our_names(ours: str, theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert adopt_comet_names({ours: "value"}) == {theirs: "value"}
    assert environment(monkeypatch, **{ours: "value"}) == {}


def test_base_is_packaged() -> None:
    assert {"base", "gnn", "gn2", "simple", "regression", "flows"} <= set(packaged_configs())


@pytest.mark.parametrize("words", [["--compile", "false"], ["--compile=false"], ["--compile", "False"]])
def test_a_switch_may_have_a_value(words: list[str]) -> None:
    assert parse_flags(["--config", "a.yaml", *words, "--name", "b"]).flags == {"compile": False, "name": "b"}
    assert parse_flags(["--compile", "--name", "true"]).flags == {"compile": True, "name": True}


SHORT = [
    (["-b", "32"], ["--data.batch_size", "32"]),
    (["-g", "0,1"], ["--trainer.accelerator", "gpu", "--trainer.devices", "[0,1]"]),
    (["--gpu=3"], ["--trainer.accelerator=gpu", "--trainer.devices=[3]"]),
    (["-g", "-1"], ["--trainer.accelerator", "cpu"]),
    (["-j", "0"], ["--data.num_workers", "0"]),
    (["-d", "unix:a.sock"], ["--data.source", "unix:a.sock"]),
    (["--data_source=unix:a.sock"], ["--data.source=unix:a.sock"]),
    (["--n_cpu", "2"], ["--data.num_workers", "2"]),
    (["-n=5"], ["--trainer.max_epochs", "5"]),
    (["--n_epochs", "5"], ["--trainer.max_epochs", "5"]),
    (["-r", "1e-3"], ["--model.lrs_config.max", "1e-3"]),
    (["--rate", "1e-3"], ["--model.lrs_config.max", "1e-3"]),
    (["-w", "0"], ["--model.lrs_config.weight_decay", "0"]),
    (["--weightdecay=0"], ["--model.lrs_config.weight_decay=0"]),
    (["-l", "logs/a"], ["--run.warm_start.checkpoint", "logs/a"]),
    (["--load", "logs/a"], ["--run.warm_start.checkpoint", "logs/a"]),
    (["-e", "50"], ["--run.warm_start.epoch", "50"]),
    (["--epoch=50"], ["--run.warm_start.epoch", "50"]),
    (["-k", "a=b.ckpt"], ["--ckpt_path", "a=b.ckpt"]),
    (["-b", "5", "--data.batch_size=5"], ["--data.batch_size=5"]),
    (["--name", "-b", "-n", "3"], ["--name=-b", "--trainer.max_epochs=3"]),
    (["-G", "pt"], ["--model.adversary.nuisance", "pt"]),
    (["-R", "10"], ["--model.adversary.ratio", "10"]),
    (["-A", "0.1"], ["--model.adversary.alpha", "0.1"]),
    (["-B", "0.9"], ["--model.adversary.balance", "0.9"]),
    (["-T=0.02"], ["--model.adversary.tolerance", "0.02"]),
    (["-m", "gn2"], ["--model", "gn2"]),
    (["-m", "mine:model", "--model.embed_dim", "8"], ["--model=mine:model", "--model.embed_dim=8"]),
]


@pytest.mark.parametrize(("short", "long"), SHORT)
def test_a_short_form_is_its_long_option(short: list[str], long: list[str]) -> None:
    around = ["-c", "gnn", *short, "--compile", "true", "--print_config"]
    found, expected = parse_flags(around), parse_flags(["--config=gnn", *long, "--compile=true", "--print_config"])
    assert replace(found, words=()) == replace(expected, words=())
    assert found.print_config


def test_every_short_form_is_tried() -> None:
    assert {name for form in FORMS for name in form.names} == {"-c"} | {
        short[0].split("=")[0] for short, _ in SHORT if not short[0].startswith("--name")
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["-b", "5", "--data.batch_size", "6"],
            "-b and --data.batch_size contradict each other: --data.batch_size 5 or 6",
        ),
        (["--trainer.devices=2", "-g", "0,1"], "--trainer.devices and -g contradict each other"),
        (["-n", "5", "--n_epochs", "6"], "-n and --n_epochs contradict each other"),
        (["-e", "5", "--epoch", "6"], "-e and --epoch contradict each other: --run.warm_start.epoch 5 or 6"),
        (["-m", "gnn", "--model", "gn2"], "-m and --model contradict each other: --model gnn or gn2"),
        (["-b"], "option -b needs a value"),
        (["-b", "--name=x"], "option -b needs a value"),
        (["-g", "cpu"], "give the numbers of GPUs"),
        (["-q", "5"], "unknown short form '-q'"),
    ],
)
def test_short_forms_that_do_not_go(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_flags(words)
