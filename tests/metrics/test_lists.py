"""Lists in a file are gone through as if all of their values were in memory."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.metrics import lists
from salt.metrics.lists import Counted, Scratch, Stored, sweep, totals


def counted(value: np.ndarray, kind: np.ndarray) -> Counted:
    return Counted.joined([Counted(value, np.stack([kind == 0, kind == 1], 1))])


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=6),
    st.integers(0, 2**31),
    st.sampled_from([1, 40, 10_000]),
    st.sampled_from(["f4", "f8"]),
    st.booleans(),
)
def test_all_values_ascending_and_equal_ones_together(
    sizes: list[int], seed: int, different: int, dtype: str, strange: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = [(rng.integers(0, different, n) / 7).astype(dtype) for n in sizes]
    kinds = [rng.integers(0, 2, n) for n in sizes]
    if strange:
        values[0][: len(values[0]) // 2] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "LEAST", 5)
        scratch = Scratch(Path())
        every = [counted(*each) for each in zip(values, kinds, strict=True)]
        kept = [scratch.keep(each) if i % 2 else each for i, each in enumerate(every)]
        assert all(isinstance(each, Stored) for each in kept[1::2])
        pieces = list(sweep(kept, 30))
    assert all(0 < len(piece) <= 3 * 30 + 5 * len(sizes) for piece in pieces)
    value, kind = np.concatenate(values), np.concatenate(kinds)
    finite = ~np.isnan(value)
    found = np.concatenate([np.empty(0, dtype), *(piece.value for piece in pieces)])
    weight = np.concatenate([np.empty((0, 2)), *(piece.weight for piece in pieces)])
    there = ~np.isnan(found)
    np.testing.assert_array_equal(found[there], np.unique(value[finite]))
    assert not there[there.sum() :].any(), "what is NaN comes last"
    for k in range(2):
        expected = [np.sum(value[kind == k] == v) for v in found[there]]
        np.testing.assert_array_equal(weight[there, k], expected)
        assert weight[~there, k].sum() == np.sum(kind[~finite] == k)
    np.testing.assert_array_equal(totals(kept), np.bincount(kind, minlength=2))


def test_a_file_has_no_name_and_goes_with_its_lists(tmp_path: Path) -> None:
    before = open_files()
    stored = Scratch(tmp_path).keep(counted(np.arange(5.0), np.zeros(5)))
    assert isinstance(stored, Stored)
    assert not list(tmp_path.iterdir())
    assert open_files() == before + 1
    np.testing.assert_array_equal(stored.read(1, 9).value, np.arange(1.0, 5))
    del stored
    assert open_files() == before


def test_what_cannot_be_written_stays_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scratch = Scratch(tmp_path / "absent")
    both = [scratch.keep(counted(np.array([x, 2.0]), np.zeros(2))) for x in (1.0, 3.0)]
    assert [type(each) for each in both] == [Counted, Counted]
    (record,) = caplog.records
    assert f"cannot be written into {tmp_path / 'absent'}: No such file or directory" in record.message
    (piece,) = sweep(both)
    assert piece.value.tolist() == [1, 2, 3]
    assert piece.weight[:, 0].tolist() == [1, 2, 1]


def test_a_full_disk_gets_back_what_a_list_took_that_did_not_fit(tmp_path: Path) -> None:
    scratch, soft, hard = Scratch(tmp_path), *resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        lists_of = [scratch.keep(counted(np.arange(float(n)), np.zeros(n))) for n in (100, 1000, 10)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [type(each) for each in lists_of] == [Stored, Counted, Counted]
    assert os.fstat(scratch._file.fileno()).st_size == 100 * lists_of[0].dtype.itemsize
    assert np.concatenate([piece.value for piece in sweep(lists_of)]).tolist() == list(range(1000))
