"""What the report shows, in which order, with which words."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from matplotlib.figure import Figure

from salt.inputs import JETS
from salt.report import tables
from salt.report.constituents import Constituents
from salt.report.draw import classes as draw_classes
from salt.report.draw import history as draw_history
from salt.report.draw import residuals as draw_residuals
from salt.report.draw import tagging as draw_tagging
from salt.report.draw import vertices as draw_vertices
from salt.report.flavours import flavour_name
from salt.report.history import History
from salt.report.jets import BACKGROUNDS
from salt.report.measure import Measured
from salt.report.residuals import FEWEST, Residuals
from salt.report.tables import Table
from salt.report.vertices import Vertices

Drawer: TypeAlias = Callable[[], Figure]


@dataclass(frozen=True, eq=False)
class Panel:
    """One result.

    Args:
        key: Names its files.
        title: What it is.
        text: How it is defined.
        draw: Draws it; None for one that is a table only.
        table: Its numbers.
        shown: What of them the page shows as a table.
    """

    key: str
    title: str
    text: str
    draw: Drawer | None
    table: Table | None
    shown: Table | None = None


@dataclass(frozen=True, eq=False)
class Section:
    """Results that belong together.

    Args:
        key: Names its folder.
        title: What they have in common.
        panels: The results.
        left_out: What is not there, and why.
        notes: What a reader should know.
    """

    key: str
    title: str
    panels: tuple[Panel, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()


def sample_section(key: str, title: str, taggers: Sequence[Measured], reference: str | None) -> Section:
    """The results of some taggers on the same jets."""
    left_out: dict[str, str] = {}
    panels = [*_tagging(taggers, reference, left_out), *_classes(taggers, left_out)]
    panels += _constituents(taggers, left_out)
    for tagger in taggers:
        left_out |= {f"{k}, {tagger.name}": v for k, v in tagger.reasons.items() if k.startswith("regression of")}
    panels += _residuals(JETS, [(t.name, t.residuals) for t in taggers], left_out)
    notes = [f"{t.name}: {note}" for t in taggers for note in t.notes]
    return Section(key, title, tuple(panels), left_out, tuple(dict.fromkeys(notes)))


def _tagging(taggers: Sequence[Measured], reference: str | None, left_out: dict[str, str]) -> Iterable[Panel]:
    yield Panel(
        "jets", "Jets", "The scored jets of each true class.", None, tables.jets(taggers), tables.jets_shown(taggers)
    )
    for tagger in taggers:
        if "tagging" in tagger.reasons:
            left_out[f"b-tagging of {tagger.name}"] = tagger.reasons["tagging"]
    tagging = [t for t in taggers if t.tagging]
    if not tagging:
        return
    yield Panel(
        "working_points",
        "Working points",
        "Rejection of the other jets at cuts that keep the stated share of all b-jets. With n of N jets passing, the "
        "mistag rate is e = n/N, the rejection 1/e, its error sqrt(e(1 - e)/N)/e². Where no jet passes, the "
        "table has what the rejection exceeds at 95% confidence.",
        None,
        tables.working_points(tagging),
        tables.working_points_shown(tagging),
    )
    first = next((t for t in tagging if t.name == reference), tagging[0])
    for background in BACKGROUNDS:
        if any(background in t.tagging.curves for t in tagging if t.tagging):
            yield Panel(
                f"rejection_{background}",
                f"Rejection of {flavour_name(background)}",
                "One over the share of jets that pass the cut which keeps a share of the b-jets. Bands are binomial "
                "errors. The taggers judge the same jets, so their errors have much in common. There is no line where "
                "no jet passes.",
                partial(draw_tagging.rejection_curves, taggers, background, first),
                tables.curves(tagging, background),
            )
    for variable, symbol in (("pt", "pT"), ("eta", "η")):
        for tagger in tagging:
            if f"profile_{variable}" in tagger.reasons:
                left_out[f"dependence on {symbol} of {tagger.name}"] = tagger.reasons[f"profile_{variable}"]
        able = [t for t in tagging if t.tagging and any(p.variable == variable for p in t.tagging.profiles)]
        if able:
            yield Panel(
                f"profile_{variable}",
                f"Dependence on {symbol}",
                f"Efficiency and rejections of one cut in bins of {symbol}. Errors are binomial. An open triangle is a "
                "lower limit at 95% confidence, where no jet passes.",
                partial(draw_tagging.profile, taggers, variable),
                tables.profile(able, variable),
            )
    yield Panel(
        "discriminant",
        "Discriminant",
        "log(p_b / (f_c p_c + f_τ p_τ + (1 - f_c - f_τ) p_u)), each true class normalised. The first and last bin hold "
        "what lies outside.",
        partial(draw_tagging.discriminants, tagging),
        tables.discriminants(tagging),
    )


def _classes(taggers: Sequence[Measured], left_out: dict[str, str]) -> Iterable[Panel]:
    able = [t for t in taggers if t.classes and t.counts]
    for tagger in taggers:
        if tagger not in able:
            left_out[f"classes of jets of {tagger.name}"] = tagger.reasons.get("classes", "no jet of a known class")
    for number, tagger in enumerate(able):
        yield Panel(
            f"scores_{number}",
            f"Probabilities of {tagger.name}",
            "Distributions for each true class, normalised.",
            partial(draw_classes.scores, tagger),
            tables.scores(tagger),
        )
    if able and not draw_classes.calibrated(able):
        left_out["calibration"] = f"there are fewer than {draw_classes.FEWEST} jets in each bin"
    elif able:
        yield Panel(
            "calibration",
            "Calibration",
            "The share of jets that are of a class, in bins of its probability, with binomial errors. On the diagonal "
            "the probabilities are what they say, for the mix of classes in this sample. Bins of fewer than "
            f"{draw_classes.FEWEST} jets are not drawn.",
            partial(draw_classes.calibration, taggers),
            tables.calibration(able),
        )
        yield Panel(
            "calibration_error",
            "Mean deviation from calibration",
            "The mean of |share - probability| over the jets, in the bins of the calibration.",
            None,
            tables.calibration_errors(able),
            tables.calibration_errors_shown(able),
        )
    for number, tagger in enumerate(able):
        assert tagger.classes is not None
        if tagger.classes.confusion.sum():
            yield Panel(
                f"confusion_{number}",
                f"Confusion of jets, {tagger.name}",
                f"The most probable class of the jets of each true class ({tagger.label}), in percent. "
                f"Accuracy {100 * tagger.classes.accuracy:.2f}%.",
                partial(draw_classes.confusion, tagger.classes, tagger.name),
                tables.confusion(tagger.classes),
            )


def _constituents(taggers: Sequence[Measured], left_out: dict[str, str]) -> Iterable[Panel]:
    names = list(dict.fromkeys(c.dataset for t in taggers for c in t.constituents))
    for tagger in taggers:
        if not tagger.constituents:
            left_out[f"constituents of {tagger.name}"] = "there are none in the prediction file"
    for dataset in names:
        parts = [(t.name, c) for t in taggers for c in t.constituents if c.dataset == dataset]
        for name, part in parts:
            words = {"classes": "classes", "vertices": "vertices", "masses": "masses of vertices"}
            reasons = {words.get(k, k): reason for k, reason in part.reasons.items()}
            left_out.update({f"{k} of {dataset}, {name}": reason for k, reason in reasons.items()})
        yield from _origins(dataset, parts)
        found = [(name, c.vertices) for name, c in parts if c.vertices is not None]
        if found:
            yield from _vertices(dataset, found, [t.name for t in taggers], left_out)
        residuals = {name: c.residuals for name, c in parts}
        yield from _residuals(dataset, [(t.name, residuals.get(t.name, ())) for t in taggers], left_out)


def _origins(dataset: str, parts: Sequence[tuple[str, Constituents]]) -> Iterable[Panel]:
    for number, (name, part) in enumerate(parts):
        if part.classes and part.classes.confusion.sum():
            yield Panel(
                f"confusion_{dataset}_{number}",
                f"Confusion of {dataset}, {name}",
                f"The most probable class of the {dataset} of each true class ({part.label}), in percent. "
                f"Accuracy {100 * part.classes.accuracy:.2f}%.",
                partial(draw_classes.confusion, part.classes, name),
                tables.confusion(part.classes),
            )


def _vertices(
    dataset: str, found: Sequence[tuple[str, Vertices]], names: Sequence[str], left_out: dict[str, str]
) -> Iterable[Panel]:
    every = [(name, dict(found).get(name)) for name in names]
    share = 100 * found[0][1].share
    yield Panel(
        f"vertices_{dataset}",
        f"Secondary vertices of {dataset}",
        "Of vertices and groups with at least two labelled constituents. A vertex is found if more than "
        f"{share:g}% of its constituents make more than {share:g}% of a group. Efficiency: found of all true "
        "secondary vertices. Purity: secondary groups that are a true one. Fake rate: those that are not. A group is "
        "secondary if less than half of it comes from the primary vertex.",
        partial(draw_vertices.rates, every),
        tables.vertices(found),
    )
    best = max(found[0][1].flavours, key=lambda f: found[0][1].truth[found[0][1].flavours.index(f)].sum())
    if any(v.efficiency_in_bins(best).total.sum() for _, v in found if best in v.flavours):
        yield Panel(
            f"vertex_efficiency_{dataset}",
            f"Secondary vertices of {dataset} against pT",
            f"Efficiency in {flavour_name(best)}, the class with most true secondary vertices.",
            partial(draw_vertices.efficiency, every, best),
            tables.vertex_efficiency(found),
        )
    massive = [v for _, v in found if v.mass_right is not None]
    if massive and not any(draw_vertices.shown(v).any() for v in massive):
        few = f"there are fewer than {draw_vertices.FEWEST} true vertices in each class of jets"
        left_out[f"masses of vertices of {dataset}"] = few
    elif massive:
        yield Panel(
            f"vertex_mass_{dataset}",
            f"Mass of vertices of {dataset}",
            "Invariant mass of the constituents of a group, each with the mass of a pion, normalised. Full lines: "
            "groups that are a true secondary vertex; dotted: the true vertices; dashed: fakes. The first and last bin "
            "hold what lies outside.",
            partial(draw_vertices.masses, every),
            tables.masses(found),
        )


def _residuals(
    dataset: str, taggers: Sequence[tuple[str, Sequence[Residuals]]], left_out: dict[str, str]
) -> Iterable[Panel]:
    for variable in dict.fromkeys(r.variable for _, found in taggers for r in found):
        named = [(name, r) for name, found in taggers for r in found if r.variable == variable]
        every = [(name, dict(named).get(name)) for name, _ in taggers]
        key, words = (variable, variable) if dataset == JETS else (f"{dataset}_{variable}", f"{variable} of {dataset}")
        yield Panel(
            f"residuals_{key}",
            f"Residuals of {words}",
            "Bias is the median, resolution half the distance of the quantiles at 16% and 84%. The first and last bin "
            "hold what lies outside.",
            partial(draw_residuals.distribution, every, dataset),
            tables.residuals(named),
        )
        if not any(len(r.pt_edges) for _, r in named):
            left_out[f"resolution of {words} against pT"] = "the pt of the jets is not known"
        elif not any(np.isfinite(r.in_bins.bias).any() for _, r in named):
            left_out[f"resolution of {words} against pT"] = f"there are fewer than {FEWEST} {dataset} in each bin"
        else:
            yield Panel(
                f"resolution_{key}",
                f"Bias and resolution of {words}",
                "In bins of the jet's pT. Errors are those of Gaussian residuals: 1.260 s/√N of the bias and "
                "0.964 s/√N of the resolution s.",
                partial(draw_residuals.against_pt, every),
                None,
            )


def training_section(runs: Sequence[History]) -> Section:
    """How the trainings went."""
    panels: list[Panel] = []
    left_out: dict[str, str] = {}
    losses, metrics = draw_history.loss_names(runs), draw_history.metrics_by_task(runs)
    for run in runs:
        if not run.series:
            left_out[f"learning curves of {run.name}"] = f"there is no metrics.csv in {run.folder}"
    if losses:
        text = "Of the training as logged, of the validation after each epoch."
        draw: Drawer = partial(draw_history.losses, runs, losses)
        panels.append(Panel("losses", "Losses", text, draw, tables.history(runs)))
    for task, names in metrics.items():
        draw = partial(draw_history.metrics, runs, names)
        panels.append(Panel(f"metrics_{task}", f"Validation of {task}", "After each epoch.", draw, None))
    logged = {name for run in runs for name in run.series}
    told = [(name, label) for name, label in PROGRESS.items() if name in logged]
    if told:
        draw = partial(draw_history.progress, runs, [n for n, _ in told], [label for _, label in told])
        panels.append(Panel("progress", "Schedule and throughput", "As logged in training.", draw, None))
    for name in ("train/learning_rate", "train/jets_per_second"):
        if any(run.series for run in runs) and name not in logged:
            left_out[PROGRESS[name]] = f"metrics.csv has no '{name}'"
    return Section("training", "Training", tuple(panels), left_out)


PROGRESS = {
    "train/learning_rate": "learning rate",
    "train/jets_per_second": "jets per second",
    "train/data_wait": "waiting for data",
    "train/memory": "memory [GB]",
}
"""What is drawn of the schedule and the machine, by the names under which it is logged."""
