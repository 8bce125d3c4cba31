"""The report: what a page says, that names stay text, its bounds, and halves that are missing.

`test_eval_report_browser.py` looks at the same page in a browser, `test_eval_report_parts.py`
at its sentence, numbers, drawings and colours.
"""

import base64
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eval.protocol import figures
from eval.protocol.scores import any_names
from eval.report import Context, pictures, write_report
from eval.table import AUS, IDENTITY
from glow_jax.io.errors import InputError
from glow_jax.io.terminal import printable
from tests.support.made_up_scores import made_up, picture, without

VOID = ("img", "meta", "br")
HOSTILE = "<script>alert('1')</script> \"é ü\" & \u202eevil"


class Page(HTMLParser):
    """The elements of a page as (tag, attributes), its text, and tags that do not match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.unmatched: list[str] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        self.unmatched += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unmatched.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data + (" " if self._open and self._open[-1] != "bdi" else "")

    def all(self, tag: str, class_: str | None = None) -> list[dict[str, str | None]]:
        """The attributes of all such elements."""
        return [a for t, a in self.elements if t == tag and class_ in (None, a.get("class"))]


def write(folder: Path, scores: pd.DataFrame, **context: object) -> Page:
    """The page of a report, its statistics kept short."""
    told = Context(**({"root": folder} | context))  # type: ignore[arg-type]
    return Page(write_report(folder / "out", scores, figures(scores, resamples=50), context=told))


@pytest.fixture
def full(tmp_path: Path) -> Page:
    """A page with everything on it."""
    scores = made_up()
    for file in scores["file"]:
        picture(tmp_path / file)
    scores.loc[0, ["faces", *IDENTITY, *AUS]] = [0, *[np.nan] * 21]
    scores[["AU14"]] = np.nan
    return write(
        tmp_path,
        scores,
        title="A judged folder",
        expressions={key: picture(tmp_path / "e.png", "red") for key in scores["expression"]},
        target_references=lambda name: picture(tmp_path / "m.png", "blue"),
        identity={"model": "Dlib", "detector": "dlib", "threshold": 0.5},
        reader="rendered",
        reader_notes=["Untested on photographs."],
        reader_quality=[{"au": "AU12", "r": 0.913, "mae": 0.31, "slope": 0.87}],
        failures=[("odd name.png", "read", "cannot identify image file")],
        versions={"deepface": "0.0.103"},
        hardware="2 cores",
        command="glow-jax eval OUT -o REPORT",
        timestamp="2025-11-22 21:40",
        notes=["Eight pictures a person."],
    )


def test_sections_come_in_order(full: Page) -> None:
    titles = ["Headline", "Contact sheet", "Identity", "Expression", "Frontier", "Tables"]
    titles += ["Worst cases", "Failures", "What was run", "How to read this"]
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", full.source) == titles
    links = [a["href"] for a in full.all("a")]
    assert links == [f"#{a['id']}" for a in full.all("section")]


def test_page_says_everything(full: Page) -> None:
    said = ("A judged folder", "12 outputs in 4 series", "11 judged, 1 without a face", "Dlib")
    said += ("217 of 220", "98.6 %", "11 of 11", "no like-for-like comparison", "rendered")
    said += ("Untested on photographs.", "0.91", "abstained", "cannot identify image file")
    said += ("0.0.103", "2 cores", "glow-jax eval OUT -o REPORT", "2025-11-22 21:40")
    said += ("Eight pictures a person.", "no face found", "recommended", "gain 0.")
    assert [words for words in said if words not in full.text] == []


def test_markup_is_whole_and_labelled(full: Page) -> None:
    assert full.unmatched == []
    assert (
        len(full.all("svg", "chart")) == 1 + 2 + 3 + 1
    )  # identity, gain and error, bars, frontier
    assert full.source.count('class="chart"><title>') == 7
    assert all(a["alt"] for a in full.all("img"))
    assert len(full.all("table")) == len(full.all("caption")) == 9
    assert all(a.get("scope") in ("row", "col") for a in full.all("th"))
    ids = [a["id"] for _, a in full.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert "nan" not in full.source.replace("resonance", "").split("</style>")[1]


def test_page_loads_nothing(full: Page) -> None:
    assert full.all("script") == full.all("link") == full.all("iframe") == []
    assert all(a["src"].startswith("data:image/") for a in full.all("img"))  # type: ignore[union-attr]
    hrefs = [a["href"] for _, a in full.elements if "href" in a]
    assert all(href and href.startswith("#") for href in hrefs)
    assert not re.search(r"https?:|url\(|@import", full.source)
    policy = [a["content"] for a in full.all("meta") if a.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_thumbnails_are_small_copies(full: Page, tmp_path: Path) -> None:
    for attributes in full.all("img"):
        data = base64.b64decode(str(attributes["src"]).split(",")[1])
        assert max(Image.open(io.BytesIO(data)).size) <= pictures.THUMB_PX
    photo = picture(tmp_path / "wide.png", "red", 2000)
    uri = pictures.thumbnail(photo)
    assert uri is not None
    small = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert small.size == (pictures.THUMB_PX, pictures.THUMB_PX)
    assert np.abs(np.asarray(small.convert("RGB"))[50, 50] - np.array([255, 0, 0])).max() < 12


def test_names_stay_text(tmp_path: Path) -> None:
    names = (f"{HOSTILE}.png", "' onerror='alert(2)' x='\udc80.png")
    scores = made_up(expressions=names, targets=(HOSTILE, 'b" onload="alert(3)'))
    scores["file"] = HOSTILE
    page = write(
        tmp_path,
        scores,
        title=HOSTILE,
        identity={HOSTILE: HOSTILE},
        reader=HOSTILE,
        reader_notes=[HOSTILE],
        failures=[(HOSTILE, HOSTILE, HOSTILE)],
        versions={HOSTILE: HOSTILE},
        command=HOSTILE,
        notes=[HOSTILE],
    )
    assert page.unmatched == [] and page.all("script") == []
    attributes = {key for _, a in page.elements for key in a}
    assert not {key for key in attributes if key.startswith("on")}
    assert page.text.count(printable(HOSTILE)) > 20 and printable(HOSTILE) != HOSTILE
    data = json.loads((tmp_path / "out" / "figures.json").read_text("utf-8"))
    assert data["counts"]["targets"] == sorted(set(scores["target"]))


@pytest.mark.parametrize("kind", ["missing", "corrupt", "folder", "pipe", "empty"])
def test_unreadable_pictures_are_placeholders(tmp_path: Path, kind: str) -> None:
    bad = tmp_path / "0.png"
    if kind == "corrupt":
        bad.write_bytes(picture(tmp_path / "good.png").read_bytes()[:60] + b"\xff" * 40)
    elif kind == "folder":
        bad.mkdir()
    elif kind == "pipe":
        os.mkfifo(bad)
    elif kind == "empty":
        bad.touch()
    scores = made_up(("smile",), ("ann",), (0.5,))
    page = write(tmp_path, scores, target_references={"ann": picture(tmp_path / "m.png")})
    labels = [a["aria-label"] for a in page.all("span", "missing")]
    assert labels.count("smile on ann, α 0.5: no picture") == 2  # on the sheet and as worst case
    assert labels.count("expression smile of eve: no picture") == 1
    assert {a["alt"] for a in page.all("img")} == {"mean face of ann"}


HALVES = {
    "no identity": (without(made_up(), identity=True), "identity was not measured", 5),
    "no AUs": (without(made_up(), aus=True), "expression was not measured", 1),
    "neither": (without(made_up(), True, True), "Neither identity nor expression", 0),
    "one alpha": (made_up(alphas=(0.5,)), "in 4 series (2 expressions, 2 targets, 1 α)", 3),
    "no alpha": (made_up(alphas=(np.nan,)), "No curve of identity distance: no output has", 3),
    "one output": (made_up(("smile",), ("ann",), (0.5,)), "At α 0.5: too few outputs to judge", 1),
    "no output": (made_up(()), "There is nothing to judge", 0),
}


@pytest.mark.parametrize("case", HALVES)
def test_missing_halves(tmp_path: Path, case: str) -> None:
    scores, said, drawings = HALVES[case]
    page = write(tmp_path, scores)
    assert page.unmatched == []
    assert said in page.text
    assert len(page.all("svg")) == drawings
    assert ("not measured" in page.text) == (
        case in ("no identity", "no AUs", "neither", "no output")
    )


@pytest.mark.slow
def test_size_is_bounded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    people = tuple(f"p{i}" for i in range(10))
    scores = made_up(tuple(f"e{i}" for i in range(60)), people, tuple(np.linspace(0.1, 1, 17)))
    assert len(scores) > 10_000
    scores["file"] = [f"{i % 200}.png" for i in range(len(scores))]
    for i in range(200):
        noise = rng.integers(0, 256, (160, 160, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png", compress_level=1)
    failures = [(f"{i}.png", "faces", "no face") for i in range(300)]
    page = write(
        tmp_path, scores, failures=failures, target_references=lambda _: tmp_path / "0.png"
    )
    assert len(page.source) < 6_000_000
    assert "24 of 600 series, 8 of 17 α" in page.text
    assert 24 * 9 <= len(page.all("img")) <= 24 * 10 + 36
    assert "The 40 expressions with the largest error; 20 more" in page.text
    assert "20 more rows are in figures.json" in page.text  # of the table by expression
    assert "99.png" in page.text and "200 more rows are in figures.json" in page.text
    data = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert len(data["run"]["failures"]) == 300


def test_recommended_alpha_is_on_a_bounded_sheet(tmp_path: Path) -> None:
    alphas = tuple(np.linspace(0.1, 1.0, 19))
    scores = made_up(alphas=alphas)
    far = scores["alpha"] > 0.84
    scores.loc[far, "to_target_mean"] = 2.0
    told = figures(scores, resamples=5)
    assert told["recommended_alpha"]["alpha"] == 0.8
    sheet = write(tmp_path, scores).source.split('<table class="sheet">')[1].split("</thead>")[0]
    shown = re.findall(r"α ([\d.]+)", sheet)
    assert len(shown) == 8 and {"0.1", "0.8", "1"} <= set(shown)
    assert re.search(r"α 0.8<br><small>recommended", sheet)


def test_flags_of_outputs() -> None:
    row = made_up().iloc[0]
    assert pictures.flags_of(row) == []
    assert pictures.flags_of(pd.concat([row.drop("faces"), pd.Series({"faces": 0})])) == ["no face"]
    assert pictures.flags_of(pd.concat([row.drop("faces"), pd.Series({"faces": 3})])) == ["3 faces"]
    lost = row.copy()
    lost["to_target_mean"] = lost["to_source_mean"]
    assert pictures.flags_of(lost) == ["nearer source"]
    lost["target"] = lost["source"]  # a person's own expression has no other mean to be near
    assert pictures.flags_of(lost) == []


@any_names
def test_data_files_hold_the_same(tmp_path: Path) -> None:
    scores = made_up(alphas=(0.1, 0.2, 0.1 + 0.2))  # 0.30000000000000004 is 0.3 on the page
    before = scores.copy()
    quality = [{"au": "AU12", "r": float("nan"), "mae": np.float64(0.5), "slope": None}]
    settings = {"threshold": np.float32(0.5)}
    page = write(tmp_path, scores, reader_quality=quality, identity=settings)
    assert "not made" not in page.text
    assert re.search(r"α 0.3<br><small>recommended", page.source)
    pd.testing.assert_frame_equal(scores, before, check_exact=True)
    back = pd.read_csv(tmp_path / "out" / "scores.csv", dtype={"id": str})
    pd.testing.assert_frame_equal(back, scores, check_dtype=False)
    data = json.loads((tmp_path / "out" / "figures.json").read_text())
    run = data.pop("run")
    assert data == figures(scores, resamples=50)
    assert run["reader_quality"] == [{"au": "AU12", "r": None, "mae": 0.5, "slope": None}]
    assert run["identity"] == {"threshold": 0.5}


def test_files_are_whole_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, made_up())
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert sorted(before) == ["figures.json", "index.html", "scores.csv"]
    replaced = []

    def fail(source: str, target: Path) -> None:
        replaced.append((Path(source).parent, Path(source).stat().st_size > 0, target.name))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="scores.csv: cannot be written .No space left"):
        write(tmp_path, made_up(gain=0.1))
    assert replaced == [(tmp_path / "out", True, "scores.csv")]
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_bad_scores_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    scores = made_up()
    told = figures(scores, resamples=5)
    with pytest.raises(InputError, match="no column AU12"):
        write_report(tmp_path / "out", scores.drop(columns="AU12"), told, context=Context())
    assert not (tmp_path / "out").exists()


def test_heat_maps_colour_in_proportion(tmp_path: Path) -> None:
    scores = made_up(alphas=(0.5,), gain=0.0)
    scores["AU02"] = 5.0  # where 0.1 was wanted
    error, change = write(tmp_path, scores).source.split('<table class="heat">')[1:]
    assert re.search(r'style="--share:100%">4.90</td>', error)
    assert re.search(r'class="worse">\+\d', change) and 'class="worse"' not in error
    half = re.search(r'style="--share:(\d+)%">(\d\.\d\d)</td>', error)
    assert half and int(half[1]) == pytest.approx(100 * float(half[2]) / 4.9, abs=1)
