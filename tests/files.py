"""Small files of made-up jets in the formats that users bring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
from numpy.typing import NDArray

from salt.inputs import Input, Target

CLASSES = ("bjets", "cjets", "ujets")
ORIGINS = ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
JET_VARIABLES = ("pt", "eta")
TRACK_VARIABLES = ("d0", "z0", "dphi")
FLAVOUR = Target("jets", "flavour_label", "class", CLASSES)
ORIGIN = Target("tracks", "ftagTruthOriginLabel", "class", ORIGINS)
VERTEX = Target("tracks", "ftagTruthVertexIndex", "index")
TARGETS = (FLAVOUR, ORIGIN, VERTEX)
INPUTS = {"jets": Input(list(JET_VARIABLES)), "tracks": Input(list(TRACK_VARIABLES))}

Tables = dict[str, NDArray[Any]]


def make_jets(num: int, seed: int = 0, width: int = 8, scattered: bool = False, first_event: int = 0) -> Tables:
    """Structured arrays `jets` [num] and `tracks` [num, width] with labels; padding is NaN, labels of it -1."""
    rng = np.random.default_rng(seed)
    jets = np.zeros(
        num,
        [
            ("pt", "f4"),
            ("eta", "f2"),
            ("flavour_label", "i4"),
            ("eventNumber", "i8"),
            ("jetNumber", "i4"),
            ("Lxy", "f4"),
        ],
    )
    jets["pt"] = rng.uniform(20, 200, num)
    jets["eta"] = rng.uniform(-2.5, 2.5, num)
    jets["flavour_label"] = rng.integers(0, len(CLASSES), num)
    jets["eventNumber"] = first_event + np.arange(num) // 2
    jets["jetNumber"] = np.arange(num) % 2
    jets["Lxy"] = np.where(jets["flavour_label"] < 2, rng.exponential(3, num) + 0.01, np.nan)
    fields = [(v, "f4") for v in TRACK_VARIABLES]
    fields += [("ftagTruthOriginLabel", "i1"), ("ftagTruthVertexIndex", "i4"), ("valid", "?")]
    tracks = np.zeros((num, width), fields)
    counts = rng.integers(0, width + 1, num)
    tracks["valid"] = np.arange(width) < counts[:, None]
    if scattered:
        tracks["valid"] = rng.permuted(tracks["valid"], axis=1)
    for i, variable in enumerate(TRACK_VARIABLES):
        tracks[variable] = np.where(tracks["valid"], rng.normal(i, 1 + i, (num, width)), np.nan)
    tracks["ftagTruthOriginLabel"] = np.where(tracks["valid"], rng.integers(0, 8, (num, width)), -1)
    tracks["ftagTruthVertexIndex"] = np.where(tracks["valid"], rng.integers(-2, 4, (num, width)), -1)
    return {"jets": jets, "tracks": tracks}


def with_field(table: NDArray[Any], name: str, values: Any) -> NDArray[Any]:
    """A table with one more field, of float32."""
    wider = np.zeros(table.shape, [*table.dtype.descr, (name, "f4")])
    for field in table.dtype.names or ():
        wider[field] = table[field]
    wider[name] = values
    return wider


def write_structured(
    path: Path,
    tables: Tables,
    classes: Sequence[str] | None = CLASSES,
    chunk: int = 10,
    compression: Any = "lzf",
) -> Path:
    """One compound dataset for each table."""
    with h5py.File(path, "w") as file:
        for name, table in tables.items():
            options: dict[str, Any] = (
                dict(compression) if isinstance(compression, Mapping) else {"compression": compression}
            )
            if len(table):
                options["chunks"] = (min(chunk, len(table)), *table.shape[1:])
            file.create_dataset(name, data=table, **options)
        if classes is not None:
            file["jets"].attrs["flavour_label"] = list(classes)
    return path


def write_umami(
    path: Path,
    tables: Tables,
    scales: Mapping[str, Mapping[str, tuple[float, float]]],
    names: Mapping[str, str] | None = None,
    dtype: str = "f4",
) -> Path:
    """Groups of normalised inputs: (value - shift) / scale of each variable in `scales`, labels beside them."""
    with h5py.File(path, "w") as file:
        for name, table in tables.items():
            group = file.create_group((names or {}).get(name, name))
            variables = list(scales[name])
            columns = [(table[v].astype("f8") - scales[name][v][0]) / scales[name][v][1] for v in variables]
            inputs = group.create_dataset("inputs", data=np.stack(columns, -1).astype(dtype), compression="gzip")
            inputs.attrs[f"{name}_variables"] = variables
            if name == "jets":
                group.create_dataset("labels", data=table["flavour_label"])
                group["labels"].attrs["label_classes"] = list(CLASSES)
            else:
                group.create_dataset("valid", data=table["valid"])
                for label in ("ftagTruthOriginLabel", "ftagTruthVertexIndex"):
                    group.create_dataset(f"labels/{label}", data=table[label])
    return path
