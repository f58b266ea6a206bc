"""What several test files are called."""

from pathlib import Path

import pytest

from salt.data.samples import find_samples
from salt.errors import ConfigError


def names(*options: str) -> list[str]:
    return [sample.name for sample in find_samples(options)]


def test_samples_are_called_like_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_samples(None) == ()
    assert names("a/ttbar.h5", "sample:test", "b/part_*.h5") == ["ttbar", "sample_test", "part__"]
    assert names("tt/test.h5", "zp/test.h5", "one.h5") == ["tt_test", "zp_test", "one"]
    assert names("x/2/test.h5", "y/2/test.h5") == ["x_2_test", "y_2_test"]


@pytest.mark.parametrize(
    ("options", "said"), [(["a.h5", "./a.h5"], "twice"), ([], "empty list"), (["a b.h5", "a_b.h5"], "rename")]
)
def test_samples_that_cannot_be_told_apart_are_refused(options: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        find_samples(options)
