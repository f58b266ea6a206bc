"""The page and its folder, from the command."""

import base64
import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest
from report_case import make_predictions, make_test_file

from salt.errors import ConfigError, DataError, SaltError
from salt.main import main
from salt.rejection import Fractions
from salt.report.build import Order, samples
from salt.report.draw.style import plain_number
from salt.report.files import Predictions
from salt.report.measure import Wishes
from salt.report.tables import Table, with_error

PAGE_HEIGHT = 12000


class Page(HTMLParser):
    """The titles, pictures, links and words of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.images: list[bytes] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self._tag = ""
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        found = dict(attrs)
        if tag == "img":
            kind, _, data = str(found["src"]).partition(",")
            assert kind == "data:image/png;base64"
            self.images.append(base64.b64decode(data))
        elif tag == "a":
            self.links.append(str(found["href"]))
        self.sources += [str(found[key]) for key in ("src", "srcset") if key in found]

    def handle_data(self, data: str) -> None:
        if self._tag == "h3" and data.strip():
            self.titles.append(data.strip())
        self.text += data


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tagger with all that there can be, one of jets alone, a regression, and a tagger in the test file itself."""
    monkeypatch.chdir(tmp_path)
    tables = make_test_file(tmp_path / "test.h5", 1500)
    foreign = make_predictions(tmp_path / "x.h5", tables, "GN9", seed=5)["jets"]
    (tmp_path / "x.h5").unlink()
    kept = tables["jets"]
    table = np.zeros(len(kept), [*kept.dtype.descr, *((f"GN9_p{c}", "f4") for c in "bcu")])
    for name in table.dtype.names:
        table[name] = kept[name] if name in kept.dtype.names else foreign[name]
    with h5py.File(tmp_path / "test.h5", "r+") as file:
        del file["jets"]
        file["jets"] = table
        file["jets"].attrs["flavour_label"] = ["bjets", "cjets", "ujets"]
    test = [tmp_path / "test.h5"]
    make_predictions(tmp_path / "one.h5", tables, "one", test)
    make_predictions(tmp_path / "two.h5", tables, "two", copied=["flavour_label"], parts=["classes"])
    make_predictions(tmp_path / "three.h5", tables, "three", copied=["HadronPt"], parts=["regression"])
    return tmp_path


def test_a_page_holds_its_pictures_and_numbers(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--predictions", "two.h5"]) == 0
    assert f"report: {files / 'report' / 'index.html'}" in capsys.readouterr().out
    page = Page(files / "report" / "index.html")
    assert not [s for s in page.sources if not s.startswith("data:")]
    for link in page.links:
        assert link.startswith("#") or (files / "report" / link).is_file(), link
    pictures = sorted((files / "report" / "figures").rglob("*.png"))
    assert sorted(page.images) == sorted(p.read_bytes() for p in pictures)
    assert all(p.with_suffix(".pdf").read_bytes().startswith(b"%PDF") for p in pictures)
    for title in ("Working points", "Rejection of c-jets", "Calibration", "Confusion of jets, two"):
        assert title in page.titles
    assert "dependence on pT of two: 'pt' of 'jets' is in neither the file nor its test file" in page.text
    rows = json.loads((files / "report" / "numbers.json").read_text())["two"]["working_points"]["rows"]
    with (files / "report/numbers/two/working_points.csv").open() as file:
        lines = list(csv.reader(file))
    assert [[str(cell) for cell in row[:6]] for row in rows] == [line[:6] for line in lines[1:]]
    assert with_error(rows[0][4], rows[0][5]) in page.text
    assert not [p for p in files.iterdir() if p.name.startswith(".")]


def test_numbers_are_written_with_the_digits_that_their_errors_leave() -> None:
    assert with_error(12.6528, 0.8740) == "12.65 ± 0.87"
    assert with_error(1542.857, 582.95) == "1543 ± 583"
    assert with_error(2.69239, 0.07087) == "2.692 ± 0.071"
    assert with_error(1.0, 0.0) == "1.00 ± 0.00"


def test_taggers_of_the_same_jets_stand_together(files: Path) -> None:
    wishes = Wishes(fractions={"GN9": Fractions(0.1)})
    order = Order((), tuple(files / name for name in ("one.h5", "two.h5", "test.h5")), files / "report", wishes)
    first, second = samples(order, [])
    assert (first.title, second.title) == ("Sample test", "Sample two")
    table = next(p.table for p in first.panels if p.key == "working_points")
    assert table is not None
    assert {row[0] for row in table.rows} == {"one", "GN9"}
    keys = {p.key for p in first.panels}
    assert {"profile_pt", "confusion_tracks_0", "vertex_mass_tracks", "resolution_HadronPt", "confusion_1"} <= keys
    assert set(first.left_out) == {"classes of tracks, GN9", "vertices of tracks, GN9"}


def test_what_is_not_known_is_left_out_with_its_reason(files: Path) -> None:
    (files / "test.h5").unlink()
    (section,) = samples(Order((), (files / "one.h5",), files / "report", Wishes()), [])
    assert section.left_out == {
        "classes of tracks, one": "no probabilities of classes of constituents in 'tracks', or no label of them",
        "vertices of tracks, one": "'ftagTruthVertexIndex' of 'tracks' is in neither the file nor its test file",
        "regression of HadronPt, one": "'HadronPt' of 'jets' is in neither the file nor its test file",
    }
    assert section.notes[0].startswith("one: the test file is left aside: there is no /")
    assert section.notes[1].startswith("one: pt is taken to be in MeV")
    assert "confusion_tracks_0" not in {p.key for p in section.panels}


def test_jets_of_no_known_class_are_left_out(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(files / "two.h5", "r+") as file:
        jets = file["jets"][:][[f"two_p{c}" for c in "bcu"]]
        del file["jets"]
        file["jets"] = jets
    assert main(["report", "--predictions", "two.h5"]) == 2
    assert "nothing to report: no file says of which class the jets are" in capsys.readouterr().err
    assert not (files / "report").exists()
    one, two = samples(Order((), (files / "one.h5", files / "two.h5"), files / "report", Wishes()), [])
    assert "rejection_cjets" in {p.key for p in one.panels}
    assert [(p.key, p.shown) for p in two.panels] == [
        ("jets", Table(("tagger", "no known class", "not scored", "true class by"), (("two", 1500, 0, "none"),)))
    ]
    assert {"b-tagging of two", "classes of jets of two"} <= set(two.left_out)


def test_of_few_jets_there_is_no_empty_picture(files: Path) -> None:
    tables = make_test_file(files / "test.h5", 25)
    make_predictions(files / "p.h5", tables, "one", [files / "test.h5"])
    (section,) = samples(Order((), (files / "p.h5",), files / "report", Wishes()), [])
    assert section.left_out == {
        "calibration": "there are fewer than 10 jets in each bin",
        "resolution of HadronPt against pT": "there are fewer than 20 jets in each bin",
        "masses of vertices of tracks": "there are fewer than 30 true vertices in each class of jets",
    }
    draw = next(p.draw for p in section.panels if p.key == "residuals_HadronPt")
    assert draw is not None
    assert "nan" not in draw().axes[0].get_legend_handles_labels()[1][0]


def test_numbers_of_axes_are_what_they_say() -> None:
    assert [plain_number(x) for x in (0.5, 1.0, 1.2, 2.0000000001, 20, 1500)] == ["0.5", "1", "1.2", "2", "20", "1,500"]


def test_regressions_of_tracks_have_panels_of_their_own(files: Path) -> None:
    tables = make_test_file(files / "test.h5", 500)
    make_predictions(files / "p.h5", tables, "one", [files / "test.h5"], parts=["classes", "tracks", "momenta"])
    (section,) = samples(Order((), (files / "p.h5",), files / "report", Wishes()), [])
    panels = {p.key: p for p in section.panels}
    assert panels["residuals_tracks_pt"].title == "Residuals of pt of tracks"
    draw = panels["residuals_tracks_pt"].draw
    assert draw is not None
    assert draw().axes[0].get_ylabel() == "normalised tracks"
    assert "resolution_tracks_pt" in panels


def test_a_test_file_with_other_jets_is_left_aside(files: Path) -> None:
    with h5py.File(files / "test.h5", "r+") as file:
        jets = file["jets"][:]
        jets["eventNumber"][3] = -5
        file["jets"][...] = jets
    file = Predictions(files / "one.h5")
    assert "has other jets than" in file.doubt
    assert "HadronPt" not in file.fields("jets")


def test_a_report_is_replaced_when_asked_for_and_only_a_report(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", "--predictions", "three.h5", "--out", "page"]
    assert main(words) == 0
    before = (files / "page" / "index.html").stat().st_ino
    assert "b-tagging of three" in Page(files / "page" / "index.html").text
    assert main(words) == 2
    assert "give --overwrite" in capsys.readouterr().err
    (files / "page" / "stray").touch()
    assert main([*words, "--overwrite"]) == 0
    assert (files / "page" / "index.html").stat().st_ino != before
    assert not (files / "page" / "stray").exists()
    (files / "page" / "numbers.json").unlink()
    assert main([*words, "--overwrite"]) == 2
    assert "is no report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], ConfigError, "name a run"),
        (["--predictions", "on.h5"], DataError, "unknown file 'on.h5' in folder .; nearest: one.h5"),
        (["--predictions", "."], DataError, ". is a folder"),
        (["--predictions", "one.h5", "--taggers", "ones"], ConfigError, "unknown tagger 'ones'"),
        (["--predictions", "one.h5", "--reference", "two"], ConfigError, "unknown tagger 'two'"),
        (["--predictions", "one.h5", "--f_c", "one=x"], ConfigError, "--f_c: one=x is no number"),
        (["--predictions", "one.h5", "--f_c", "2"], ConfigError, "f_c is 2"),
        (["--predictions", "one.h5", "--efficiency", "0"], ConfigError, "--efficiency is 0"),
        (["--predictions", "one.h5", "--pt_bins", "50", "20"], ConfigError, "--pt_bins"),
        (["--predictions", "one.h5", "--label", "flavor"], DataError, "unknown label 'flavor'"),
        (["--predictions", "one.h5", "--vertex_share", "0.2"], ConfigError, "--vertex_share is 0.2"),
        (["--predictions", "one.h5", "--out", "one.h5/page"], DataError, "one.h5; give another folder by --out"),
        (["--prediction", "one.h5", "--ot", "x"], ConfigError, "--ot"),
        (["gnn"], ConfigError, "no run 'gnn'"),
    ],
)
def test_mistakes_are_named(files: Path, words: list[str], error: type[SaltError], message: str) -> None:
    from salt.commands.report import run

    with pytest.raises(error) as caught:
        run(words)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3
    assert not (files / "report").exists()
    assert not [p for p in files.iterdir() if p.name.startswith(".")]


def test_nothing_is_left_when_drawing_fails(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def fail(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    assert main(["report", "--predictions", "three.h5"]) == 1
    assert not [p for p in files.iterdir() if "report" in p.name]


LOOK = """
<script>
addEventListener("load", () => {
  const boxes = [...document.querySelectorAll(".panel")].map(e => e.getBoundingClientRect());
  let overlaps = 0;
  boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
    overlaps += a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  }));
  const images = [...document.images];
  const inside = images.every(e => {
    const box = e.getBoundingClientRect(), panel = e.closest(".panel").getBoundingClientRect();
    return box.left >= panel.left && box.right <= panel.right && box.bottom <= panel.bottom;
  });
  const empty = [...document.querySelectorAll(".panel")].filter(e => !e.querySelector("img, table")).length;
  document.title = JSON.stringify({panels: boxes.length, images: images.length, empty, overlaps, inside,
    broken: images.filter(e => !e.naturalWidth).length, wider: document.body.scrollWidth > innerWidth});
});
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_shows_it(files: Path) -> None:
    assert main(["report", "--predictions", "one.h5", "test.h5", "two.h5"]) == 0
    page = files / "report" / "index.html"
    page.write_text(page.read_text() + LOOK)
    for width in (1500, 700):
        seen = _seen(page, width, files / "profile")
        assert seen.pop("panels") > seen.pop("images") > 10
        assert seen == {"empty": 0, "overlaps": 0, "inside": True, "broken": 0, "wider": False}


def _seen(page: Path, width: int, profile: Path) -> dict[str, object]:
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{PAGE_HEIGHT}"]
    command = ["chromium", *options, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    match = re.search(r"<title>({.*?})</title>", result.stdout)
    assert match is not None
    found: dict[str, object] = json.loads(match[1])
    return found
