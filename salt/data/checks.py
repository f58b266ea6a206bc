"""Doubts about data that are voiced before training."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from salt.data.reader import Reader
from salt.data.remote import Place
from salt.data.source import Source
from salt.data.survey import Measure, Survey
from salt.errors import ConfigError, DataError
from salt.inputs import STANDARD_CLASSES, Input, Target
from salt.statistics import Scale

TRUTH = re.compile(r"truth|HadronCone|flavour_?label|flavor_?label|GhostBHadrons|GhostCHadrons", re.IGNORECASE)
FAR = 5.0
"""Standard deviations between a measured mean and a given one, or the ratio of deviations, that are not by chance."""


def check_distinct(train: Sequence[Place], others: Mapping[str, Sequence[Place]]) -> None:
    """Raises ConfigError if a file of training is also one of another option, such as ``data.val_file``."""
    real = {path.resolve() for path in train}
    for key, paths in others.items():
        for path in paths:
            if path.resolve() in real:
                raise ConfigError(f"data.train_file and {key} are the same file {path}; give each its own jets")


def nameless_codes(*sources: Source) -> list[str]:
    """Labels whose codes no file, config or standard explains, each as a sentence; their codes follow the config.

    Raises:
        DataError: Some of the files name the classes of such a label and some do not, so one code may mean two things.
    """
    doubts = []
    for target in dict.fromkeys(target for source in sources for target in source.targets):
        if target.kind != "class" or target.codes is not None or target.variable in STANDARD_CLASSES:
            continue
        readers = [(r, s.inputs[target.input]) for s in sources if target in s.targets for r in s.readers]
        names = {r.path: r.class_names(i.dataset_of(target.input), target.variable) for r, i in readers}
        silent = [path for path, found in names.items() if found is None]
        if silent and len(silent) < len(names):
            other = next(path for path, found in names.items() if found is not None)
            raise DataError(
                f"{silent[0]} does not name the classes of label '{target.variable}' of input '{target.input}', as "
                f"{other} does\nwrite the attribute '{target.variable}' into it, or give the task a label_map"
            )
        if silent:
            order = ", ".join(f"{code} = {name}" for code, name in enumerate(target.classes))
            doubts.append(
                f"{silent[0]} does not name the classes of label '{target.variable}', which is read as {order}; "
                "if that is wrong, give the task a label_map"
            )
    return doubts


def shared_jets(one: Survey, other: Survey) -> int:
    """How many surveyed jets of `other` are among those of `one`."""
    return int(np.isin(other.fingerprints, one.fingerprints).sum())


def truth_inputs(inputs: Mapping[str, Input], targets: Iterable[Target]) -> list[str]:
    """Variables of inputs that are truth by their name or because a task learns them, as ``input.variable``."""
    learned = {(inputs[t.input].dataset_of(t.input), t.variable) for t in targets}
    return [
        f"{name}.{variable}"
        for name, spec in inputs.items()
        for variable in spec.variables
        if TRUTH.search(variable) or (spec.dataset_of(name), variable) in learned
    ]


def far_from(scales: Mapping[str, Mapping[str, Scale]], found: Survey) -> list[str]:
    """Variables whose measured mean or deviation is far from the given one, as ``input.variable``."""
    return [
        f"{name}.{variable}"
        for name, variables in found.measures.items()
        for variable, measure in variables.items()
        if _far(measure, scales[name][variable])
    ]


def _far(measure: Measure, given: Scale) -> bool:
    std = measure.scale.std if measure.count else 0.0
    spread = std > 0 and not given.std / FAR <= std <= given.std * FAR
    return spread or (measure.count > 0 and abs(measure.mean - given.mean) > FAR * given.std)


def look_normalised(scales: Mapping[str, Mapping[str, Scale]], found: Survey) -> bool:
    """Whether at least half of the variables have mean near 0 and deviation near 1 once normalised."""
    strange = []
    for name, variables in found.measures.items():
        for variable, measure in variables.items():
            given = scales[name][variable]
            mean = (measure.mean - given.mean) / given.std
            std = measure.scale.std / given.std if measure.count else 1.0
            strange.append(abs(mean) > 1 or not 0.2 <= std <= 5)
    return 2 * sum(strange) <= len(strange)


def lacking_targets(
    readers: Sequence[Reader], inputs: Mapping[str, Input], targets: Sequence[Target]
) -> tuple[Target, ...]:
    """The targets whose variable is missing in a file that has the dataset it would be in."""
    fields = [reader.layouts() for reader in readers]
    return tuple(
        target
        for target in targets
        for dataset in [inputs[target.input].dataset_of(target.input)]
        if any(dataset in layouts and target.variable not in layouts[dataset].fields for layouts in fields)
    )
