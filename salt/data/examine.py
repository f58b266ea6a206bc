"""What is found out about the data before training: statistics for the model, doubts for the user."""

from collections.abc import Mapping

from salt.data import checks
from salt.data.dead import dead_data
from salt.data.source import Source
from salt.data.survey import Survey, has_numbers, number_scales, scales_of, survey
from salt.errors import DataError
from salt.inputs import Target
from salt.statistics import Scale, Statistics


def examine(
    train: Source,
    val: Source | None,
    test: Source | None,
    given: Mapping[str, Mapping[str, Scale]] | None,
    weights: Mapping[Target, tuple[float, ...]],
) -> tuple[Statistics, list[str]]:
    """Surveys the files of a training.

    Args:
        train: Jets to train on.
        val: Jets to validate on, if any.
        test: Jets to test on later, if they are there already.
        given: The normalisation that the user gave; None measures it.
        weights: Class weights that the user gave.

    Returns:
        The statistics, and one sentence for each doubt.

    Raises:
        DataError: Something that was read cannot be used.
    """
    sources = [source for source in (train, val, test) if source is not None]
    by_number = all(has_numbers(source) for source in sources)
    found = survey(train, by_number)
    statistics = Statistics(
        inputs=scales_of(found, train.key) if given is None else given,
        class_counts=found.class_counts,
        class_weights=weights,
        numbers=number_scales(found, train.key),
        constituents_per_jet=found.constituents_per_jet,
    )
    doubts = []
    if truth := checks.truth_inputs(train.inputs, [t for t in train.targets if t.learnt]):
        doubts.append(f"data.inputs holds truth that no recorded jet has: {', '.join(truth)}")
    if given is not None:
        doubts += _norm_doubts(train, given, found)
    found_val = None if val is None else survey(val, by_number)
    doubts += dead_data(train, found, val, found_val)
    if found_val is not None:
        doubts += _duplicate_doubts("validation", found, found_val, by_number)
    if test is not None:
        try:
            doubts += _duplicate_doubts("test", found, survey(test, by_number), by_number)
        except DataError as error:  # It does not concern the training.
            doubts.append(f"a test will fail as things are: {error}")
    for source in sources:
        source.close()
    return statistics, doubts


def _norm_doubts(train: Source, given: Mapping[str, Mapping[str, Scale]], found: Survey) -> list[str]:
    umami = any(reader.format == "umami" for reader in train.readers)
    if umami and not checks.look_normalised(given, found):
        return [
            f"the values in {train.paths[0]} do not look normalised, as they should be in groups of inputs; "
            "leave out data.norm_dict if they are physical"
        ]
    if far := checks.far_from(given, found):
        return [f"data.norm_dict is far from the training file for {', '.join(far)}; does it belong to it?"]
    return []


def _duplicate_doubts(name: str, train: Survey, other: Survey, by_number: bool) -> list[str]:
    count = checks.shared_jets(train, other)
    if count == 0:
        return []
    how = "event and jet number" if by_number else "content"
    return [
        f"{count} of {other.num_jets} {name} jets that were looked at are also among {train.num_jets} training jets, "
        f"by {how}; their scores will look better than they are"
    ]
