"""Files that mean harm, at every place of the page that takes a file; without a browser."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.page.driver import Server
from glow_jax.cli.main import main
from glow_jax.cli.ui import bundled
from tests.support.hostile_files import write_hostile
from tests.support.page_calls import Answer, PageCalls

pytestmark = pytest.mark.slow
PERSON = "person-16"
LONGEST = 2000  # characters of a line
MOST_ACCEPTED = 12  # some of the files harm other readers than the place's
GROWTH_MB = 700  # of the server at one place
HEAD = "expression,source,target,alpha\n"
Beside = Callable[[PageCalls, str, Path], dict[str, Any]]


class Place(NamedTuple):
    """A place of the page that takes a file.

    Attributes:
        button: that sends it.
        good: name of a file that is accepted.
        beside: from the page, the name of the file at the place, and the folder of good files, to
            the other fields.
        several: whether it takes several files.
    """

    button: str
    good: str
    beside: Beside
    several: bool = False


def always(**fields: Any) -> Beside:
    """Other fields that depend on nothing; _ stands for - in their names."""
    return lambda page, name, folder: {k.replace("_", "-"): v for k, v in fields.items()}


def smiling(page: PageCalls, name: str, folder: Path) -> dict[str, Any]:
    return {"expression": page.upload(folder / "smile.png")[0], "target-bundled": PERSON}


def pictures_of_table(page: PageCalls, name: str, folder: Path) -> dict[str, Any]:
    return {"batch-pictures": page.upload(folder / "people.zip")}


def table_of_pictures(page: PageCalls, name: str, folder: Path) -> dict[str, Any]:
    """A table that names the file, unless the file is a ZIP."""
    shown = "shots/smile.png" if name.endswith(".zip") else name
    (folder / "job.csv").write_text(f'{HEAD}"{shown}",ann,ann,1\n')
    return {"table": page.upload(folder / "job.csv")[0]}


PLACES = {
    "expression": Place("go", "smile.png", always(target_bundled=PERSON)),
    "target": Place("go", "smile.png", always(expression_bundled="smile")),
    "neutral": Place("go", "smile.png", smiling, several=True),
    "edit-picture": Place("edit-go", "smile.png", always()),
    "edit-reference": Place("edit-go", "smile.png", always(edit_picture_bundled=PERSON), True),
    "direction": Place("edit-go", "hair.npz", always(edit_picture_bundled=PERSON)),
    "clip": Place("animate-go", "clip.mp4", always(animate_target_bundled=PERSON)),
    "animate-target": Place("animate-go", "smile.png", always(clip_bundled=True)),
    "table": Place("run", "job.csv", pictures_of_table),
    "batch-pictures": Place("run", "people.zip", table_of_pictures, several=True),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file for each place, and what commands find beside them."""
    folder = tmp_path_factory.mktemp("good")
    people = bundled.people()
    smile, face = bundled.expressions()["smile"], bundled.faces()[PERSON]
    for name, path in (("smile.png", smile), ("face.png", face), ("clip.mp4", bundled.CLIP)):
        (folder / name).write_bytes(path.read_bytes())
    members = {"shots/smile.png": smile}
    members |= {f"ann/{path.name}": path for path in people["person-41"].iterdir()}
    with zipfile.ZipFile(folder / "people.zip", "w") as archive:
        for name, path in members.items():
            archive.write(path, name)
        archive.extractall(folder)
    (folder / "job.csv").write_text(f"{HEAD}shots/smile.png,ann,ann,1\n")
    words = ["direction", str(people[PERSON]), str(people["person-36"])]
    assert main([*words, "-o", str(folder / "hair.npz")]) == 0
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    found = write_hostile(tmp_path_factory.mktemp("hostile"))
    assert len(found) > 250
    return found


def sent(page: PageCalls, key: str, path: Path, good: Path) -> Answer:
    """The answer to a file at a place, with good ones at the others."""
    place = PLACES[key]
    uploads = page.upload(path)
    fields = place.beside(page, path.name, good)
    if key == "batch-pictures" and path.suffix != ".zip":
        uploads += page.upload(good / "people.zip")
    return page.press(place.button, fields | {key: uploads if place.several else uploads[0]})


@pytest.mark.parametrize("key", PLACES)
def test_every_hostile_file_is_a_line(
    key: str, hostile: list[Path], good: Path, server: Server
) -> None:
    accepted, before = [], server.rss_mb
    with PageCalls(server.url) as page:
        for path in hostile:
            if key == "batch-pictures" and path.suffix != ".zip":
                continue  # below, all at once: each would be a job of its own
            answer = sent(page, key, path, good)
            line = answer.line
            assert line.isprintable() and len(line) < LONGEST, (path.name, line)
            assert "glow-jax-ui" not in line and "Traceback" not in line, (path.name, line)
            if not line:
                accepted.append(path.name)
        assert len(accepted) <= MOST_ACCEPTED, accepted
        assert server.rss_mb < before + GROWTH_MB
        assert sent(page, key, good / PLACES[key].good, good).line == ""


def test_a_table_of_hostile_pictures_is_answered(
    hostile: list[Path], good: Path, server: Server, tmp_path: Path
) -> None:
    """Each row whose picture cannot be read fails for itself; the sound one is made."""
    paths = [path for path in hostile if path.suffix != ".zip"]
    table = tmp_path / "job.csv"
    rows = "".join(f'"{path.name}",ann,ann,1\n' for path in paths)
    table.write_text(f"{HEAD}shots/smile.png,ann,ann,1\n{rows}")
    with PageCalls(server.url) as page:
        pictures = page.upload(*paths, good / "people.zip")
        answer = page.press("run", {"table": page.upload(table)[0], "batch-pictures": pictures})
    assert not answer.line
    shown = answer.values[0]
    pattern = r"(\d+) pictures? made.*Left out: (\d+) .*Not made: (\d+);"
    found = re.search(pattern, shown, re.DOTALL)
    assert found is not None, shown
    made, twice, failed = map(int, found.groups())
    assert made + twice + failed == len(paths) + 1 and 1 <= made <= MOST_ACCEPTED
    assert "0-a.png: the file is empty" in shown and "glow-jax-ui" not in shown


OF_EDIT = ("--batch-size", "1", "-o", "result")
COMMANDS = {
    "edit-picture": (
        (".png", ".jpg", ".webp", ".gif", ".bmp"),
        ("edit", "--au", "AU12+1", "--align", "--min-face", "40", "--model", "photo64", *OF_EDIT),
    ),
    "direction": ((".npz",), ("edit", "face.png", "--model", "faces64", *OF_EDIT, "--direction")),
    "table": ((".csv", ".yaml"), ("batch", "--model", "faces64", "-o", "result")),
    "clip": (
        (".mp4", ".m3u8"),
        ("animate", "--target", "face.png", "--no-align", "-o", "result.mp4", "--driving"),
    ),
}
# What the page alone refuses; and a long path, of which the page's folder is a part.
PAGES_OWN = ("leads out of the folder", "bytes; at most", "…")


@pytest.mark.parametrize("key", COMMANDS)
def test_the_line_is_the_commands(
    key: str,
    hostile: list[Path],
    good: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where the command refuses the same file, it does so with the same words."""
    monkeypatch.chdir(good)
    endings, words = COMMANDS[key]
    compared = 0
    with PageCalls(server.url) as page:
        for path in (one for one in hostile if one.suffix in endings):
            Path(path.name).write_bytes(path.read_bytes())
            code = main([*words, path.name])
            said = capsys.readouterr().err.strip().splitlines()
            Path(path.name).unlink()
            line = sent(page, key, path, good).line
            if code == 2 and not any(part in line for part in PAGES_OWN):
                # An unreadable picture is refused by the page before it is asked what to edit.
                command = said[-1].split("error: ", 1)[1]
                assert line and command.removeprefix("no picture can be edited: ") == (
                    line.removeprefix("no picture can be edited: ")
                ), (path.name, line, command)
                compared += 1
    assert compared >= 10
