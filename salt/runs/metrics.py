"""``metrics.csv``: one row for each step at which something was logged, over all attempts of a run."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from salt.errors import DataError
from salt.files import complete_or_absent

FIRST = ("epoch", "step")
"""Columns that stand in front."""

TAIL = 1 << 18
"""Bytes from the end of the file in which the last value of each metric is looked for."""

Row = dict[str, str]


class MetricsFile:
    """Writes ``metrics.csv``. Whatever is logged at one step stands in one row, which is in the file at once.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []
        self._row: Row = {}
        self._begin = 0  # Where the last row begins in the file.
        self._file: TextIO | None = None

    def go_on(self, step: int) -> None:
        """Goes on in a file that is there, if there is one, from a step: rows of it and of later ones are dropped."""
        self.close()
        if not self.path.is_file():
            return
        with self._errors():
            columns, rows = read_rows(self.path)
            self._columns = columns
            kept = [row for row in rows if int(row["step"] or 0) < step]
            self._write_all(kept)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds values to the row of a step, the last one or a new one.

        Raises:
            DataError: The file cannot be written.
        """
        row = {"step": str(step), **{key: repr(value) for key, value in values.items()}}
        with self._errors():
            new = [key for key in row if key not in self._columns]
            if new or self._file is None:
                self._add_columns(new)
            assert self._file is not None
            if self._row.get("step") == row["step"]:
                row = {**self._row, **row}
            else:
                self._begin = self._file.seek(0, io.SEEK_END)
            self._row = row
            self._file.seek(self._begin)
            self._file.write(_line([row.get(column, "") for column in self._columns]))
            self._file.truncate()
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add_columns(self, new: list[str]) -> None:
        rows = read_rows(self.path)[1] if self._file is not None else []
        self.close()
        others = sorted({*self._columns, *new} - set(FIRST))
        self._columns = [*FIRST, *others]
        self._write_all(rows)

    def _write_all(self, rows: list[Row]) -> None:
        """Writes the whole file anew and leaves it open behind its last row."""
        with complete_or_absent(self.path) as beside, beside.open("w", newline="") as out:
            out.write(_line(self._columns))
            self._row = {}
            for row in rows:
                self._begin = out.tell()
                self._row = row
                out.write(_line([row.get(column, "") for column in self._columns]))
        # Kept open from line to line; forked processes find nothing in its buffer.
        self._file = self.path.open("r+", newline="")
        self._file.seek(0, io.SEEK_END)

    def _errors(self) -> "_Errors":
        return _Errors(self.path)


class _Errors:
    """Turns what the system says of a file into a DataError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise DataError(f"cannot write {self._path}: {error.strerror or error}") from None


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """The columns and rows of a file, without a last row that was cut off in the middle."""
    with path.open(newline="") as file:
        return _parse(file.read())


def last_values(path: Path) -> Row:
    """The last value of each metric that the end of the file has; nothing where there is no file."""
    try:
        with path.open("rb") as file:
            header = file.readline()
            start = file.tell()
            end = file.seek(0, io.SEEK_END)
            file.seek(max(start, end - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return {}
    if end - start > TAIL:
        text = text.partition("\n")[2]
    values: Row = {}
    for row in _parse(header.decode(errors="replace") + text)[1]:
        values.update({key: value for key, value in row.items() if value})
    return values


def _parse(text: str) -> tuple[list[str], list[Row]]:
    complete = text[: text.rfind("\n") + 1]
    lines: Iterator[list[str]] = csv.reader(io.StringIO(complete, newline=""))
    columns = next(lines, [])
    rows = [dict(zip(columns, line, strict=True)) for line in lines if len(line) == len(columns)]
    return columns, [row for row in rows if row.get("step", "").isdigit()]


def _line(cells: list[str]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
