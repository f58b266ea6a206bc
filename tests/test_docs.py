"""What the pages show works as written.

In a page, `<!-- file: NAME -->` before a fenced block makes the test write the block to that file, and `<!-- run -->`
makes it run the block with bash, all in one scratch folder, from top to bottom.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from salt.cli.short_forms import FORMS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"<!-- (run|file: (?P<name>\S+)) -->\n```\w+\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"^<!-- (?:run|file)", re.MULTILINE)

SHORT = {
    "PL_DATA__NUM_TRAIN": "1000",
    "PL_DATA__NUM_VAL": "100",
    "PL_DATA__NUM_TEST": "1000",
    "PL_DATA__NUM_WORKERS": "0",
    "PL_TRAINER__MAX_EPOCHS": "1",
    "PL_TRAINER__LOGGER": "false",
}
"""Options that make every training of the pages a short one."""


LONG = ("adversary", "devices", "preprocessing", "schedules", "terminal", "tutorial")
"""Pages whose commands take minutes on a busy machine."""


def blocks(page: Path) -> list[tuple[str | None, str]]:
    return [(match["name"], match["text"]) for match in BLOCK.finditer(page.read_text())]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PL_", "COMET_", "SALT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **SHORT, "PATH": path, "HOME": str(tmp_path), "SALT": str(ROOT), "OMP_NUM_THREADS": "1"}


def with_blocks() -> list[Any]:
    found = [page for page in PAGES if blocks(page)]
    return [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] if p.stem in LONG else []) for p in found]


@pytest.mark.parametrize("page", with_blocks())
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    text = page.read_text()
    assert len(blocks(page)) == len(MARK.findall(text)), "a mark has no fenced block right after it"
    for name, block in blocks(page):
        if name is not None:
            (tmp_path / name).write_text(block)
            continue
        command = ["bash", "-euo", "pipefail", "-c", block]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert result.returncode == 0, f"{block}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"


def test_every_option_that_a_page_mentions_exists() -> None:
    from lightning.pytorch import Trainer

    from salt.data.datamodule import JetDataModule

    options = {
        "data": set(JetDataModule.__init__.__annotations__),
        "trainer": set(Trainer.__init__.__annotations__),
    }
    mentioned = {
        (page.name, group, name)
        for page in PAGES
        for group, name in re.findall(r"--(data|trainer)\.(\w+)", page.read_text())
    }
    assert mentioned
    for page_name, group, name in mentioned:
        assert name in options[group], f"{page_name} mentions --{group}.{name}"


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere() -> None:
    text = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = set(re.findall(r"[\w/-]+\.md", str(text["nav"])))
    assert listed == {str(p.relative_to(ROOT / "docs")) for p in PAGES[1:]}
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[\w-]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_packaged_config_is_described() -> None:
    described = (ROOT / "docs" / "configuration.md").read_text()
    for config in (ROOT / "salt" / "configs").glob("*.yaml"):
        assert f"`{config.name}`" in described


def test_every_short_form_is_described() -> None:
    described = (ROOT / "docs" / "configuration.md").read_text()
    for form in FORMS:
        assert f"| {', '.join(f'`{name}`' for name in form.names)} | `--{form.option}` |" in described
