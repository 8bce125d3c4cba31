"""A table from the page: it reaches no other file, is bounded, and makes what `batch` makes."""

import json
import zipfile
from pathlib import Path

import pytest

from glow_jax.cli.main import main
from glow_jax.cli.ui import batches
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.staging import Upload
from glow_jax.cli.ui.tab_batch import summary_lines
from glow_jax.io.errors import InputError

HEAD = "expression,source,target,alpha\n"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    (tmp_path / "private").mkdir()
    return Engine(tmp_path / "private")


def upload(tmp_path: Path, name: str, data: bytes) -> Upload:
    path = tmp_path / f"raw-{len(list(tmp_path.iterdir()))}"
    path.write_bytes(data)
    return Upload(path, name)


def zipped(home: Path, tmp_path: Path) -> Upload:
    path = tmp_path / "people.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for folder in ("ann", "bob", "shots"):
            for file in (home / folder).iterdir():
                archive.write(file, f"{folder}/{file.name}")
    return Upload(path, "people.zip")


def test_it_makes_what_the_command_makes(
    engine: Engine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "FOR_ALIGNED", str(home / "model"))
    rows = "".join(f"shots/{i}.png,ann,bob,{alpha}\n" for i in (0, 1) for alpha in (0.5, 1))
    table = upload(tmp_path, "my job.csv", (HEAD + rows).encode())
    place = batches.stage(engine, table, [zipped(home, tmp_path)])
    seen: list[tuple[int, int]] = []
    summary, _, archive = batches.run(engine, place, False, lambda n, of: seen.append((n, of)))
    assert summary.made == 4 and seen[-1] == (4, 4)
    with zipfile.ZipFile(archive) as opened:
        made = {n: opened.read(n) for n in opened.namelist() if n.endswith(".png")}
        recipe = json.loads(opened.read("recipe.json"))
        tables = b"".join(opened.read(n) for n in opened.namelist() if n.endswith(("csv", "json")))
    assert len(made) == 4 and str(tmp_path).encode() not in tables
    other = batches.stage(engine, table, [zipped(home, tmp_path)])
    monkeypatch.chdir(other.parent)
    assert recipe["command"][2] == "my job.csv" and main(recipe["command"][1:]) == 0
    assert {n: Path(n).read_bytes() for n in made} == made


def test_why_an_output_is_not_made_is_said(
    engine: Engine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "FOR_ALIGNED", str(home / "model"))
    rows = "a.png,ann,bob,1\na.png,bob,ann,1\na.png,ann,bob,1\n"
    table = upload(tmp_path, "job.csv", f"{HEAD}{rows}".encode())
    bad = upload(tmp_path, "a.png", b"text")
    place = batches.stage(engine, table, [bad, zipped(home, tmp_path)])
    ran = batches.run(engine, place, False, lambda n, of: None)
    lines = summary_lines(ran, batches.reasons(ran.summary))
    assert lines[1] == "Left out: 1 duplicate row."
    assert lines[2].startswith("Not made: 2") and lines[-1].startswith("a.png: not an image")


@pytest.mark.parametrize("path", ["/etc/hosts", "../../other/0.png", "shots/../../x.png"])
@pytest.mark.parametrize("kind", ["csv", "toml"])
def test_a_table_reaches_no_other_file(
    engine: Engine, home: Path, tmp_path: Path, path: str, kind: str
) -> None:
    text = HEAD + f"{path},ann,bob,1\n"
    if kind == "toml":
        text = f'alphas = [1]\ntargets = ["{path}"]\n[[sources]]\nexpressions = ["shots/0.png"]\n'
    table = upload(tmp_path, f"job.{kind}", text.encode())
    place = batches.stage(engine, table, [zipped(home, tmp_path)])
    with pytest.raises(InputError, match=r"job\.\w+: line 2: .*leads out of the folder"):
        batches.run(engine, place, False, lambda n, of: None)


@pytest.mark.parametrize("kind", ["csv", "toml"])
def test_outputs_are_bounded(
    engine: Engine, home: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_OUTPUTS", 3)
    text = HEAD + "shots,ann,bob,1\n" * 2
    if kind == "toml":
        text = 'alphas = [1, 2]\ntargets = ["bob"]\n[[sources]]\nexpressions = ["shots"]\n'
    place = batches.stage(
        engine, upload(tmp_path, f"job.{kind}", text.encode()), [zipped(home, tmp_path)]
    )
    with pytest.raises(InputError, match="4 outputs; at most 3|more than 3 outputs"):
        batches.run(engine, place, False, lambda n, of: None)


def test_what_is_wrong_is_said(engine: Engine, tmp_path: Path) -> None:
    table, picture = upload(tmp_path, "job.csv", b"x"), upload(tmp_path, "a.png", b"x")
    with pytest.raises(InputError, match="no table"):
        batches.stage(engine, None, [picture])
    with pytest.raises(InputError, match="no pictures"):
        batches.stage(engine, table, [])
    with pytest.raises(InputError, match=r"a\.png: there twice"):
        batches.stage(engine, table, [picture, picture])
    with pytest.raises(InputError, match="501 files; at most 500"):
        batches.stage(engine, table, [picture] * 501)
    large = upload(tmp_path, "job.csv", bytes(batches.MAX_TABLE_BYTES + 1))
    with pytest.raises(InputError, match="1000001 bytes; at most 1000000"):
        batches.stage(engine, large, [picture])
    with pytest.raises(InputError, match="no column"):
        batches.run(engine, batches.stage(engine, table, [picture]), False, lambda n, of: None)
