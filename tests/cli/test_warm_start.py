"""Parts of a model that begin with the weights of another, and stay as they are for a while."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import SMALL, Command

FIT = ("fit", "--config", "simple", *SMALL)
HEADS = "--run.warm_start.exclude=[tasks]"
Weights = dict[str, torch.Tensor]


@pytest.fixture
def best(run_folder: Path) -> Path:
    """The best checkpoint of a finished run."""
    return min(run_folder.glob("ckpts/epoch*"), key=lambda p: float(p.stem.partition("loss")[2]))


def weights(path: Path) -> Weights:
    loaded: Weights = torch.load(path, weights_only=True)["state_dict"]
    return loaded


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def changed(one: Weights, other: Weights) -> set[str]:
    return {key.split(".")[1] for key in one if not torch.equal(one[key], other[key])}


def test_what_is_frozen_thaws_at_its_epoch_also_after_a_restart(best: Path, command: Command, tmp_path: Path) -> None:
    keep = "--trainer.callbacks.Checkpoint.save_top_k=-1"
    decay = "--model.lrs_config.weight_decay=0.5"
    words = (*FIT, decay, keep, "--run.warm_start", str(best), HEADS, "--run.warm_start.freeze_epochs=2")
    ended = command(*words, "--trainer.max_epochs=3")
    assert ended.code == 0, ended.err
    assert "2,912 parameters stay as they are until epoch 2 ends" in ended.err
    assert ended.err.count("all parameters are trained from now on") == 1
    whole = only(tmp_path / "logs")
    epochs = [weights(next(whole.glob(f"ckpts/epoch{n:03d}*"))) for n in range(3)]
    assert changed(weights(best), epochs[0]) == {"tasks"}
    assert changed(epochs[0], epochs[1]) == {"tasks"}
    assert changed(epochs[1], epochs[2]) == {"tasks", "embed"}

    begun = Path(shutil.copytree(whole, tmp_path / "logs" / "again"))
    first = next(begun.glob("ckpts/epoch000*"))
    back = ("--run.warm_start", first.name, "--run.warm_start.weights_only=false")
    restarted = command("fit", "--run.run_id", "again", *back)
    assert restarted.code == 0, restarted.err
    ended_as = weights(begun / "ckpts" / "last.ckpt")
    assert changed(weights(whole / "ckpts" / "last.ckpt"), ended_as) == set()


def test_the_table_says_what_was_loaded_skipped_and_missing(best: Path, command: Command, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text(
        "model: {tasks: {origin: {class_path: Classification, input: tracks, label: ftagTruthOriginLabel, hidden: []}}}"
    )
    limits = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1")
    included = ("--run.warm_start", str(best), "--run.warm_start.include=[embed, tasks.*]")
    ended = command(*FIT, "--config", str(more), *limits, *included)
    assert ended.code == 0, ended.err
    lines = ended.err.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("part of the model"))
    ends = [(heading, lines[begin].index(heading) + len(heading)) for heading in ("loaded", "skipped", "missing")]
    table = {
        line.split()[0]: {heading: line[:end].split()[-1] for heading, end in ends if line[end - 1 : end].isdigit()}
        for line in lines[begin + 1 : begin + 6]
    }
    assert table == {
        "normalise.jets": {"skipped": "5"},
        "normalise.tracks": {"skipped": "21"},
        "embed.tracks": {"loaded": "2,912"},
        "tasks.jets_classification": {"loaded": "4,294"},
        "tasks.origin": {"missing": "528"},
    }
    stored = yaml.safe_load((only(tmp_path / "logs") / "config.yaml").read_text())
    assert stored["run"]["warm_start"]["checkpoint"] == str(best)


def test_a_warm_start_is_done_once_more_if_nothing_was_saved(best: Path, command: Command, tmp_path: Path) -> None:
    source = Path(shutil.copy(best, tmp_path / "source.ckpt"))
    short = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2")
    assert command(*FIT, *short, "--run.warm_start", str(source)).code == 0
    run = only(tmp_path / "logs")
    begun_so = weights(run / "ckpts" / "last.ckpt")
    shutil.rmtree(run / "ckpts")
    assert command("fit", "--run.run_id", run.name).code == 0
    assert changed(begun_so, weights(run / "ckpts" / "last.ckpt")) == set()
    shutil.rmtree(run / "ckpts")
    shutil.copy(max(best.parent.glob("epoch000*")), source)
    refused = command("fit", "--run.run_id", run.name)
    assert refused.code == 2
    assert "no longer the checkpoint" in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.embed_dim=16"], "embed.tracks.dense.rest.2.layers.0.weight is (32, 64) in"),
        (["--model.embed_dim=16"], "exclude '[embed.tracks, tasks.jets_classification]'"),
        (["--data.inputs.jets.variables=[eta, pt]"], "exclude '[normalise.jets, embed.tracks]'"),
        (["--model.tasks.jets_classification.classes=[cjets, bjets, ujets]"], "of task 'jets_classification'"),
        (["--run.warm_start.exclude=[task]"], "unknown part of the model 'task' in run.warm_start.exclude"),
        (["--run.warm_start.include=[pooling2]"], "unknown part of the model 'pooling2' in run.warm_start.include"),
        (["--run.warm_start.exclude=['*']"], "nothing of"),
        (["--run.warm_start.freeze=['*']"], "leaves nothing to train"),
        (["--run.warm_start=null", "--run.warm_start.freeze_epochs=1"], "no weights are loaded that could be frozen"),
    ],
)
def test_weights_that_do_not_fit(words: list[str], message: str, best: Path, command: Command, tmp_path: Path) -> None:
    ended = command(*FIT, "--trainer.max_epochs=1", "--run.warm_start.checkpoint", str(best), *words)
    assert ended.code == 2, ended.err
    assert message in ended.err
    assert list((tmp_path / "logs").iterdir()) == []
