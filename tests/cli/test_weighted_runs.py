"""Loss weights from the command line: what a run says and keeps of them, and any number of devices."""

from pathlib import Path

import pytest
import yaml
from cli_case import SMALL_FILES
from conftest import Command
from files import make_jets, with_field, write_structured
from test_command import metrics, only_run
from test_devices import run

WEIGHTED = """\
model:
  tasks:
    jets_classification: {init_args: {class_weights: balanced, loss_weights: {jet: w}}}
    track_origin:
      init_args:
        loss_weights: {jet: w, level: {by: value, variable: z0, slope: -0.3, minimum: 0.2}, normalise: training}
    track_vertexing: {init_args: {loss_weights: {level: {slope: -0.1, minimum: 0.2}}}}
"""
WORDS = ("--config=gnn", "--config=weights.yaml", *(w for w in SMALL_FILES if "tasks" not in w))


@pytest.fixture
def here(command: Command, tmp_path: Path) -> Path:
    """A folder with weighted jets and a config; the test file lacks the weights."""
    for seed, part in enumerate(("train", "val", "test")):
        tables = make_jets(150, seed=seed, first_event=1000 * seed)
        if part != "test":
            tables["jets"] = with_field(tables["jets"], "w", tables["jets"]["pt"] / 100)
        write_structured(tmp_path / f"{part}.h5", tables)
    (tmp_path / "weights.yaml").write_text(WEIGHTED)
    return tmp_path


def test_what_a_run_says_and_keeps(here: Path, command: Command) -> None:
    done = command("fit", *WORDS, "--model.balancing=uncertainty", "--trainer.log_every_n_steps=1")
    assert done.code == 0, done.err
    assert "balanced by uncertainty" in done.err
    line = next(line for line in done.err.splitlines() if line.startswith("  track_origin"))
    assert "0.5     jet: w; level: max(0.2, 1 - 0.3 z0); normalise: training (mean " in line
    run = only_run(here)
    table = yaml.safe_load((run / "loss_weights.yaml").read_text())
    assert (table["balancing"], list(table["tasks"])) == (
        "uncertainty",
        ["jets_classification", "track_origin", "track_vertexing"],
    )
    assert table["tasks"]["jets_classification"]["classes"]["ujets"] != 1
    step = metrics(run)[0]
    losses = {name: float(step[f"train/{name}/loss"]) for name in table["tasks"]}
    for name, weights in table["tasks"].items():  # All variances begin at 1.
        assert float(step[f"train/{name}/weighted_loss"]) == pytest.approx(weights["task"] * losses[name], rel=1e-5)
    total = sum(weights["task"] * losses[name] for name, weights in table["tasks"].items())
    assert float(step["train/loss"]) == pytest.approx(total, rel=1e-5)
    other = f"--run.run_id={run.name}", "--trainer.max_epochs=2", "--model.tasks.track_origin.init_args.weight=0.25"
    assert command("fit", *other).code == 0
    tables = [yaml.safe_load((run / f"loss_weights{number}.yaml").read_text()) for number in ("", ".1")]
    assert [each["tasks"]["track_origin"]["task"] for each in tables] == [0.5, 0.25]
    again = command("validate", f"--config={run}/config.yaml", "--trainer.logger=false")
    assert again.code == 0, again.err
    scored = command("test", f"--config={run}/config.yaml", "--data.test_file=test.h5")
    assert scored.code == 0, scored.err
    assert "test/jets_classification/accuracy" in scored.out
    assert "test/jets_classification/loss" not in scored.out
    assert "test/track_vertexing/loss" in scored.out


@pytest.mark.parametrize("rule", ["uncertainty", pytest.param("geometric", marks=pytest.mark.slow)])
def test_two_devices_train_like_one(rule: str, here: Path) -> None:
    """Losses of two epochs, and with them all gradients, agree to rounding."""
    flags = (f"--model.balancing={rule}", "--trainer.max_epochs=2", "--trainer.log_every_n_steps=1")
    words = ("fit", *WORDS, *flags, "--model.encoder.init_args.dropout=0")
    ways = {"one": ("1", "40"), "two": ("2", "20")}
    for name, (devices, size) in ways.items():
        flags = (f"--trainer.devices={devices}", f"--data.batch_size={size}", f"--trainer.default_root_dir={name}")
        run(here, *words, *flags)
    one, two = (metrics(next((here / name).iterdir())) for name in ways)
    assert len(one) == len(two) > 4
    for row, other in zip(one, two, strict=True):
        for key, value in row.items():
            if "loss" in key and value:
                assert float(other[key]) == pytest.approx(float(value), rel=1e-4), key


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("tasks.track_vertexing.init_args.loss_weights={jett: w}", ("loss_weights", "jett")),
        ("tasks.track_vertexing.init_args.loss_weights.level.slop=1", ("level", "slop")),
        ("tasks.track_vertexing.init_args.loss_weights.jet=ww", ("unknown loss weight 'ww'", "nearest: w", "train.h5")),
        ("tasks.track_vertexing.init_args.loss_weights.level.minimum=-1", ("task 'track_vertexing'", "minimum is -1")),
        ("balancing=geometrc", ("balancing", "geometrc")),
    ],
)
def test_what_is_wrong(flag: str, words: tuple[str, ...], here: Path, command: Command) -> None:
    done = command("fit", *WORDS, f"--model.{flag}")
    assert done.code in (1, 2)
    last = [line for line in done.err.splitlines() if "error:" in line][-1]
    assert all(word in last for word in words), done.err
    assert not list(here.glob("logs/*/ckpts/*"))
