"""The files of a simulation: jets in HDF5, normalisation and class weights in YAML."""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from salt.errors import DataError
from salt.simulate.fields import FIELDS, WIDTH, Records, dtype
from salt.simulate.options import Options
from salt.simulate.truth import ORIGINS
from salt.sink import Sink

CHUNK_ROWS = 100
"""Rows of one HDF5 chunk."""

Compression = Literal["lzf", "gzip"]


class JetFile:
    """A growing HDF5 file of jets.

    HDF5 works in a thread of its own: Ctrl-C is raised in the main thread only, so it never breaks into HDF5, which
    would not survive that.

    Args:
        path: Where it lies.
        split: Which of the files it is.
        options: What its jets were made with; recorded in its attributes.
        compression: ``lzf`` is fast, ``gzip`` small.
    """

    def __init__(self, path: Path, split: str, options: Options, compression: Compression) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._sink = Sink(path)
        self.rows = 0
        self._file = self._thread.submit(self._open, split, options, compression).result()

    def _open(self, split: str, options: Options, compression: Compression) -> h5py.File:
        file = h5py.File(self._sink, "w")
        level = {"compression_opts": 9} if compression == "gzip" else {}
        for name in FIELDS:
            width = () if name == "jets" else (WIDTH,)
            file.create_dataset(
                name,
                shape=(0, *width),
                maxshape=(None, *width),
                chunks=(CHUNK_ROWS, *width),
                dtype=dtype(name),
                compression=compression,
                shuffle=True,
                **level,
            )
        file["jets"].attrs["flavour_label"] = list(options.classes)
        file["tracks"].attrs["ftagTruthOriginLabel"] = list(ORIGINS)
        units = {name: {f.name: f.unit for f in fields if f.unit} for name, fields in FIELDS.items()}
        file.attrs["units"] = json.dumps(units)
        file.attrs["options"] = json.dumps(asdict(options))
        file.attrs["seed"] = options.seed
        file.attrs["split"] = split
        for package in ("salt-tagger", "pythia8mc", "fastjet"):
            file.attrs[f"version_{package}"] = version(package)
        return file

    def append(self, chunk: Mapping[str, Records]) -> None:
        """Adds jets at the end.

        Raises:
            OSError: They could not be written.
        """
        self._thread.submit(self._append, chunk).result()
        self._sink.check()

    def _append(self, chunk: Mapping[str, Records]) -> None:
        end = self.rows + len(chunk["jets"])
        for name, values in chunk.items():
            self._file[name].resize(end, axis=0)
            self._file[name][self.rows : end] = values
        self.rows = end

    def close(self) -> None:
        """Brings everything to disk.

        Raises:
            OSError: Something could not be written.
        """
        self._thread.submit(self._file.close).result()
        self._thread.shutdown()
        self._sink.close()


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and summed squared deviations of each variable, which can be added up piece by piece."""

    count: int
    mean: NDArray[np.float64]
    square: NDArray[np.float64]

    def __add__(self, other: "Moments") -> "Moments":
        """Of both samples together (T. Chan, G. Golub, R. LeVeque, Stanford report STAN-CS-79-773)."""
        total = self.count + other.count
        if not total:
            return self
        delta = other.mean - self.mean
        return Moments(
            total,
            self.mean + delta * other.count / total,
            self.square + other.square + delta**2 * self.count * other.count / total,
        )


def inputs(dataset: str) -> list[str]:
    """The columns of a dataset that a model may see."""
    return [f.name for f in FIELDS[dataset] if not f.truth]


@dataclass(frozen=True, eq=False)
class Summary:
    """What the YAML files say about the jets of a file so far.

    Args:
        moments: For each dataset the moments of its inputs, over valid constituents.
        flavours: How often each class occurs.
        origins: How often each origin of tracks occurs.
    """

    moments: Mapping[str, Moments]
    flavours: NDArray[np.int64]
    origins: NDArray[np.int64]

    def __add__(self, other: "Summary") -> "Summary":
        moments = {name: self.moments[name] + other.moments[name] for name in self.moments}
        return Summary(moments, self.flavours + other.flavours, self.origins + other.origins)

    def norm_dict(self) -> dict[str, dict[str, dict[str, float]]]:
        """Mean and standard deviation of each input; a variable that never changes gets 1."""
        result: dict[str, dict[str, dict[str, float]]] = {}
        for name, moments in self.moments.items():
            std = np.sqrt(moments.square / max(moments.count, 1))
            scales = zip(moments.mean.tolist(), np.where(std > 0, std, 1.0).tolist(), strict=True)
            result[name] = {v: {"mean": m, "std": s} for v, (m, s) in zip(inputs(name), scales, strict=True)}
        return result

    def class_dict(self) -> dict[str, dict[str, list[float]]]:
        """Weights that give every class the same weight in total; 1 for classes that do not occur."""
        return {
            "jets": {"flavour_label": _weights(self.flavours)},
            "tracks": {"ftagTruthOriginLabel": _weights(self.origins)},
        }


def summarise(chunk: Mapping[str, Records], classes: int) -> Summary:
    """The summary of some jets."""
    moments = {}
    for name, values in chunk.items():
        rows = values if name == "jets" else values[values["valid"]]
        matrix = np.stack([rows[v].astype(np.float64) for v in inputs(name)], axis=1)
        mean = matrix.mean(axis=0) if len(matrix) else np.zeros(matrix.shape[1])
        moments[name] = Moments(len(matrix), mean, np.sum((matrix - mean) ** 2, axis=0))
    tracks = chunk["tracks"]
    return Summary(
        moments,
        np.bincount(chunk["jets"]["flavour_label"], minlength=classes),
        np.bincount(tracks["ftagTruthOriginLabel"][tracks["valid"]], minlength=len(ORIGINS)),
    )


def _weights(counts: NDArray[np.int64]) -> list[float]:
    occurring = np.maximum(counts, 1)
    weights = np.where(counts > 0, counts.sum() / (np.count_nonzero(counts) * occurring), 1.0)
    return [float(w) for w in weights]


@contextmanager
def beside(folder: Path, names: list[str]) -> Iterator[dict[str, Path]]:
    """Hidden files that get their final names together, once all of them are complete.

    Args:
        folder: Where they lie.
        names: Their final names.

    Yields:
        For each final name the path to write to. If the block ends early, for whatever reason, they are removed.

    Raises:
        DataError: The disk is full, or something else keeps a file from being written.
    """
    hidden = {name: folder / f".{name}.{os.getpid()}" for name in names}
    try:
        yield hidden
        for name, path in hidden.items():
            path.replace(folder / name)
    finally:
        for path in hidden.values():
            with suppress(OSError):
                path.unlink()


def cannot_write(path: Path, error: OSError) -> DataError:
    """The error for a file that could not be written."""
    advice = "nothing was left behind; free some space or choose another --out"
    return DataError(f"cannot write {path}: {error.strerror or error}\n{advice}")
