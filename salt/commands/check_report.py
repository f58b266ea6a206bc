"""What ``main check`` prints: tables of data and model, a line for each finding, and the verdict."""

from collections.abc import Iterator, Mapping

from rich.table import Table

from salt.callbacks.model_summary import drawn, layers, plain_table, tasks
from salt.cli.checked import Checked
from salt.commands.check_places import Finding, log_folder, staging
from salt.commands.check_time import memory, pace, workers
from salt.data.scan import Scan
from salt.errors import ConfigError
from salt.inputs import Target

FREQUENT = 0.05
"""From this share on the most frequent value of a variable is shown."""


def report(found: Checked) -> str:
    """All of it as text."""
    tables = list(_tables(found))
    shown = drawn(tuple(tables), terminal=False) + "\n\n" if tables else ""
    findings = _findings(found)
    return shown + "".join(_line(each) for each in findings) + _verdict(findings) + "\n"


def exit_code(found: Checked) -> int:
    """0 without errors, 2 where one is in config or flags, else 1."""
    errors = [each for each in _findings(found) if each.level == "error"]
    return 2 if any(each.config for each in errors) else 1 if errors else 0


def _findings(found: Checked) -> list[Finding]:
    """Errors first, as they are what is to be corrected."""
    every = [
        *(Finding("error", str(error), isinstance(error, ConfigError)) for error in found.errors),
        # Those of the workers are said here for all devices that are asked for.
        *(Finding("warning", doubt) for doubt in found.doubts if not doubt.startswith("data.num_workers is")),
        *_good(found),
        *log_folder(found),
        *staging(found),
        *workers(found),
        *pace(found),
        *memory(found),
    ]
    unique = dict.fromkeys(every)
    return sorted(unique, key=lambda each: ("ok", "warning", "error").index(each.level))


def _good(found: Checked) -> Iterator[Finding]:
    if found.model is not None:
        parameters = sum(p.numel() for p in found.model.model.parameters())
        columns = sum(len(task.columns()) for task in found.model.tasks.values())
        number = len(found.model.tasks)
        yield Finding(
            "ok",
            f"the model '{found.model.name}' has {parameters:,} parameters, {number} task{'s' * (number > 1)} and "
            f"{columns} columns of predictions",
        )
    if found.data is None or found.data.statistics is None:
        return
    for part, about in found.data.describe().items():
        if part in ("train", "val"):
            files = len(about["files"])
            option = f"data.{part}_file"
            yield Finding("ok", f"{option}: {about['jets']:,} jets of {files} file{'s' * (files > 1)} can be read")
    if found.data.norm_dict is not None and not any("data.norm_dict" in doubt for doubt in found.doubts):
        yield Finding("ok", "data.norm_dict fits the training file")


def _line(finding: Finding) -> str:
    first, *rest = finding.text.splitlines()
    return "".join([f"{finding.level:<9}{first}\n", *(f"{'':9}{line}\n" for line in rest)])


def _verdict(findings: list[Finding]) -> str:
    errors = sum(each.level == "error" for each in findings)
    doubts = sum(each.level == "warning" for each in findings)
    warned = f"{doubts} warning{'s' * (doubts > 1)}"
    if errors:
        return f"not ready: {errors} error{'s' * (errors > 1)}" + (f" and {warned}" if doubts else "")
    return f"ready, with {warned}" if doubts else "ready: nothing is wrong"


def _tables(found: Checked) -> Iterator[Table]:
    scans = found.scans or {}
    if "train" in scans:
        yield _variables(scans["train"])
    if any(each.counts or each.numbers for each in scans.values()):
        yield _labels(scans)
    if found.model is not None:
        yield layers(found.model)
        yield tasks(found.model)


def _variables(found: Scan) -> Table:
    numbers = ("mean", "std", "least", "most", "not finite", "often")
    table = plain_table("variable", "type", *numbers, numbers=numbers)
    for name, variables in found.variables.items():
        for variable, about in variables.items():
            measure = about.measure
            cells = ["", "", "", "", "", ""]
            if measure.count and measure.usual is not None:
                scale = measure.scale
                cells[:4] = [f"{value:.4g}" for value in (scale.mean, scale.std, measure.low, measure.high)]
                if measure.usual_count > FREQUENT * measure.count:
                    cells[5] = f"{measure.usual:.4g} in {_share(measure.usual_count, measure.count)}"
            if about.entries:
                cells[4] = _share(about.strange, about.entries)
            table.add_row(f"{name}.{variable}", about.dtype.name, *cells)
    return table


def _labels(scans: Mapping[str, Scan]) -> Table:
    table = plain_table("label", "class", *scans, numbers=tuple(scans))
    targets = dict.fromkeys(target for each in scans.values() for target in (*each.counts, *each.numbers))
    for target in targets:
        label = f"{target.input}.{target.variable}"
        if target.kind == "number":
            table.add_row(label, "(a number)", *(_number(each, target) for each in scans.values()))
            continue
        for i, name in enumerate((*target.classes, "(no label)")):
            cells = [_class(each, target, i) for each in scans.values()]
            table.add_row(label if i == 0 else "", name, *cells)
    return table


def _class(found: Scan, target: Target, i: int) -> str:
    counts = found.counts.get(target)
    return "" if counts is None else f"{counts[i]:,} ({_share(counts[i], sum(counts))})"


def _number(found: Scan, target: Target) -> str:
    measure = found.numbers.get(target)
    return "" if measure is None else f"{measure.count:,}"


def _share(part: int, total: int) -> str:
    """Neither 0% of some nor 100% of not all."""
    share = 100 * part / max(total, 1)
    if 0 < share < 0.1:
        return "<0.1%"
    return ">99.9%" if 99.9 < share < 100 else f"{share:.3g}%"
