"""Short names of options that are typed often."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from salt.errors import ConfigError


@dataclass(frozen=True)
class ShortForm:
    """Other names of an option.

    Args:
        names: What can be typed.
        option: What it stands for.
        meaning: What it is good for, in a few words.
    """

    names: tuple[str, ...]
    option: str
    meaning: str


GPU = ("-g", "--gpu")

FORMS = (
    ShortForm(("-c",), "config", "a config, packaged or a file"),
    ShortForm(("-m",), "model", "a model: of the zoo, a YAML file, or module:attribute; configs lie on top"),
    ShortForm(GPU, "trainer.devices", "GPUs by their numbers, such as 0,1; -1 for the CPU"),
    ShortForm(("-j", "--n_cpu"), "data.num_workers", "processes that read"),
    ShortForm(("-b",), "data.batch_size", "jets of a step"),
    ShortForm(("-d", "--data_source"), "data.source", "a server of jets: unix:jets.sock or http://node:8088"),
    ShortForm(("-n", "--n_epochs"), "trainer.max_epochs", "epochs"),
    ShortForm(("-r", "--rate"), "model.lrs_config.max", "largest learning rate"),
    ShortForm(("-w", "--weightdecay"), "model.lrs_config.weight_decay", "weight decay"),
    ShortForm(("-l", "--load"), "run.warm_start.checkpoint", "weights to begin from"),
    ShortForm(("-e", "--epoch"), "run.warm_start.epoch", "epochs that count as finished, with -l"),
    ShortForm(("-k",), "ckpt_path", "a checkpoint, with all that belongs to it"),
    ShortForm(("-G",), "model.adversary.nuisance", "what an adversary shall not read from the scores"),
    ShortForm(("-R",), "model.adversary.ratio", "rate of the tagger over that of the adversary"),
    ShortForm(("-A",), "model.adversary.alpha", "how much the tasks count, 1 for plain training"),
    ShortForm(("-B",), "model.adversary.balance", "the balance that ends the training"),
    ShortForm(("-T",), "model.adversary.tolerance", "how far below it is near enough"),
)

_OPTIONS: Mapping[str, str] = {name: form.option for form in FORMS for name in form.names}


def help_text() -> str:
    """The short forms beside the options that they stand for."""
    rows = [(", ".join(form.names), f"--{form.option}", form.meaning) for form in FORMS]
    widths = [max(len(row[k]) for row in rows) for k in (0, 1)]
    lines = [f"  {a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in rows]
    return "\n".join(["short forms, each exactly the option beside it:", *lines])


def written_out(words: Sequence[str], switches: Sequence[str]) -> list[str]:
    """The words of a command line with options in place of their short forms.

    Args:
        words: What follows the verb.
        switches: Options that are not followed by a value.

    Raises:
        ConfigError: A short form has no value, or another one than the option that it stands for.
    """
    result: list[str] = []
    values: dict[str, tuple[str, str]] = {}
    shortened: set[str] = set()
    for key, value in _pairs(words, switches):
        if key not in _OPTIONS or _OPTIONS[key] == "config":
            result += [key] if value is None else [f"{key}={value}"] if key.startswith("--") else [key, value]
            means = {} if value is None else {key.removeprefix("--"): value}
        elif value is None:
            raise ConfigError(f"option {key} needs a value: {key} VALUE")
        else:
            means = _devices(key, value) if key in GPU else {_OPTIONS[key]: value}
            result += [f"--{option}={meant}" for option, meant in means.items()]
            shortened |= set(means)
        for option, meant in means.items():
            other, before = values.setdefault(option, (key, meant))
            if option in shortened and before != meant:
                raise ConfigError(f"{other} and {key} contradict each other: --{option} {before} or {meant}")
    return result


def _pairs(words: Sequence[str], switches: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Options with their values, and words that have none."""
    rest = iter(words)
    waiting: str | None = None
    for word in rest:
        if waiting is not None and not (word.startswith("--") and len(word) > 2):
            yield waiting, word
            waiting = None
            continue
        if waiting is not None:
            yield waiting, None
            waiting = None
        key, has_value, value = word.partition("=")
        if not word.startswith("-") or key in switches or key.endswith("help") or key == "-h":
            yield word, None
        elif has_value:
            yield key, value
        else:
            waiting = word
    if waiting is not None:
        yield waiting, None


def _devices(name: str, value: str) -> dict[str, str]:
    if value == "-1":
        return {"trainer.accelerator": "cpu"}
    if not re.fullmatch(r"\d+(,\d+)*", value):
        raise ConfigError(f"{name} {value}: give the numbers of GPUs, such as {name} 0,1, or {name} -1 for the CPU")
    return {"trainer.accelerator": "gpu", "trainer.devices": f"[{value}]"}
