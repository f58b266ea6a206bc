"""The project holds together: floors, style, types, versions."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import salt

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LONGEST = 400


@pytest.mark.parametrize(
    "words",
    [["lint-imports", "--no-cache"], ["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=str,
)
def test_checks_of_the_source_pass(words: list[str]) -> None:
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def test_no_file_is_too_long() -> None:
    for path in [*(ROOT / "salt").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= LONGEST, f"{path} has more than {LONGEST} lines; split it"


def test_all_modules_of_the_package_stand_on_a_floor() -> None:
    floors = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    listed = {name.strip().removeprefix("salt.") for floor in floors for name in re.split(r"[|:]", floor)}
    there = {p.stem for p in (ROOT / "salt").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert there - {"__init__", "__main__"} == listed


def test_versions_agree() -> None:
    version = PROJECT["project"]["version"]
    assert salt.__version__ == version
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == version
    assert re.search(rf"^## \[(Unreleased|{re.escape(version)})\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_constraints_lie_within_what_the_package_allows() -> None:
    from packaging.requirements import Requirement

    project = PROJECT["project"]
    extras = [r for group in project["optional-dependencies"].values() for r in group]
    allowed = {r.name: r.specifier for r in map(Requirement, [*project["dependencies"], *extras])}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            assert version in allowed[name], f"{line} is not among {name}{allowed[name]}"


def test_every_dependency_is_explained() -> None:
    from packaging.requirements import Requirement

    project = PROJECT["project"]
    explained = set(re.findall(r"`([\w-]+)`", (ROOT / "docs" / "setup.md").read_text()))
    for requirement in [*project["dependencies"], *(r for g in project["optional-dependencies"].values() for r in g)]:
        assert Requirement(requirement).name in explained


def test_the_make_targets_are_there() -> None:
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("install", "demo", "test", "lint", "docs", "bench", "clean"):
        assert f"make {target} " in result.stdout


def test_pictures_of_the_pages_are_small() -> None:
    for picture in (ROOT / "docs" / "figures").iterdir():
        assert picture.stat().st_size < 100_000
