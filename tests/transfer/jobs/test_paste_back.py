"""Photographs in, photographs out: `transfer --align --paste-back --neutral`."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_jax.cli.main import main
from glow_jax.io.landmarks68 import crop_transform
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import read_provenance
from tests.support import photographs
from tests.support.paths import ROOT
from transfer.expression import estimate
from transfer.expression.model import ExpressionModel
from transfer.jobs.pasted_tiles import TILE_PX
from transfer.jobs.sheet import GAP_PX, LABEL_PX
from transfer.photos.crop import crop, transform_points

PASTED = ("--paste-back", "--paste-format", "png", "--alpha", "0", "1")
SIZE = {"width": 1000, "height": 800, "scale": 1.4}


def shot(name: str, path: Path) -> photographs.Photograph:
    taken = photographs.photograph(name, **SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(taken.pixels).save(path, quality=95)
    return taken


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Person 29 smiles; person 36 has two neutral photographs, a turned one, and one of a wall."""
    root = tmp_path_factory.mktemp("album")
    shot("29_1", root / "29" / "still.jpg")
    shot("29_2", root / "29" / "smile.jpg")
    shot("36_1", root / "36" / "a.jpg")
    shot("36_3", root / "36" / "surprised.jpg")
    sideways = photographs.photograph("36_1", **SIZE, turn_deg=8).pixels
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side; to be turned by 90 degrees
    Image.fromarray(np.rot90(sideways)).save(root / "36" / "b.jpg", quality=95, exif=exif)
    Image.fromarray(photographs.wall(400, 300)).save(root / "36" / "wall.png")
    return root


def command(album: Path, out: Path, *more: str) -> list[str]:
    words = ["transfer", "--align", "--expression", f"{album}/29/smile.jpg", "--source"]
    return [*words, f"{album}/29", "--target", f"{album}/36", "-o", str(out), *more]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done") / "out"
    # The wall is skipped and told, so the exit code is 1.
    assert main(command(album, out, *PASTED)) == 1
    return out


def test_expressions_are_read_in_details_of_photographs(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the job and where its results are pasted; pictures that are aligned have no more."""
    sides, read = [], estimate.read

    def noted(model: ExpressionModel, images: np.ndarray) -> estimate.Read:
        sides.append(images.shape[1])
        return read(model, images)

    monkeypatch.setattr(estimate, "read", noted)
    assert main(command(album, tmp_path / "photographs", *PASTED)) == 1
    assert len(sides) >= 4 and set(sides) == {128}
    how = json.loads((tmp_path / "photographs" / "job.json").read_text())["how"]
    assert json.loads(how["reading"])["size"] == 64 and how["expression_reading"]
    sides.clear()
    faces = f"{ROOT}/transfer/demo"
    words = [
        "--expression",
        f"{faces}/expressions/smile.png",
        "--source",
        f"{faces}/people/person-41",
    ]
    target = ["--target", f"{faces}/people/person-16", "-o", str(tmp_path / "aligned")]
    assert main(["transfer", *words, *target]) == 0
    assert sides and set(sides) == {64}


def test_the_photograph_wears_the_expression(album: Path, done: Path) -> None:
    rows = rows_of(done / "pasted.csv")
    assert len(rows) == 2
    alphas = {r["id"]: float(r["alpha"]) for r in rows_of(done / "results.csv")}
    for row in rows:
        photograph = read_image(row["photograph"])
        result = read_image(done / row["pasted"])
        assert result.shape == photograph.shape
        if alphas[row["id"]] == 0:
            np.testing.assert_array_equal(result, photograph)
            continue
        # Only the face has changed, and it has changed as the small output has.
        taken = photographs.photograph("36_1", **SIZE)
        name = Path(row["photograph"]).name
        assert name in ("a.jpg", "b.jpg")
        changed = (result != photograph).any(-1)
        assert 0.01 < changed.mean() < 0.2
        if name == "a.jpg":
            marks = transform_points(taken.landmarks, crop_transform(taken.landmarks))
            before = crop(photograph, crop_transform(taken.landmarks), 64).astype(float)
            after = crop(result, crop_transform(taken.landmarks), 64).astype(float)
            small = read_image(done / row["file"]).astype(float)
            x0, y0, x1, y1 = (np.concatenate([marks[48:].min(0), marks[48:].max(0)]) * 64).astype(
                int
            )
            mouth = np.s_[y0 - 2 : y1 + 3, x0 - 2 : x1 + 3]
            assert np.abs(small - before)[mouth].mean() > 6
            assert np.abs(small - after)[mouth].mean() < 0.6 * np.abs(small - before)[mouth].mean()
        record = read_provenance(done / row["pasted"])
        assert record is not None and record.source_type == "compositeWithTrainedAlgorithmicMedia"
        assert record.recipe["pasted_into"] == name and record.recipe["alpha"] == 1


def test_the_sheet_shows_photographs(done: Path) -> None:
    """The target and the outputs are as sharp as the photograph, not as the model's 64 pixels."""
    sheet, step = read_image(done / "sheet.png"), TILE_PX + GAP_PX
    n_columns = (sheet.shape[1] - GAP_PX) // step
    left = [GAP_PX + k * step for k in range(n_columns - 3, n_columns)]  # target, alpha 0, alpha 1
    top = LABEL_PX + GAP_PX
    tiles = [sheet[top : top + TILE_PX, x : x + TILE_PX].astype(float) for x in left]
    np.testing.assert_array_equal(tiles[0], tiles[1])
    assert np.abs(tiles[2] - tiles[0]).mean() > 0.5
    side = (TILE_PX, TILE_PX)
    for name in rows_of(done / "pasted.csv")[0]["file"], rows_of(done / "pasted.csv")[1]["file"]:
        small = Image.fromarray(read_image(done / name)).resize(side, Image.Resampling.BICUBIC)
        blurred = np.abs(np.diff(np.asarray(small, float), axis=1)).mean()
        assert np.abs(np.diff(tiles[2], axis=1)).mean() > 1.1 * blurred


def test_a_second_run_makes_nothing_anew(album: Path, done: Path, capsys) -> None:
    before = {p: p.read_bytes() for p in sorted(done.rglob("*.png"))}
    gone, damaged = (done / "pasted").iterdir()
    for makes in (gone.unlink, lambda: damaged.write_text("x\n")):
        makes()
        assert main(command(album, done, *PASTED)) == 1
        printed = capsys.readouterr()
        assert "(1 made; already there: 1)" in printed.out
    assert "wall.png: no face found" in printed.err
    after = {p: p.read_bytes() for p in sorted(done.rglob("*.png"))}
    assert set(before) == set(after)
    for path in before:
        assert before[path] == after[path], path


@pytest.mark.slow
def test_a_jpeg_stays_one_of_its_quality(album: Path, done: Path, capsys) -> None:
    before = sorted(path.name for path in (done / "pasted").iterdir())
    words = command(album, done, "--paste-back", "--alpha", "0", "1")
    assert main(words) == 1
    assert "(2 made; already there: 0)" in capsys.readouterr().out
    rows, alphas = rows_of(done / "pasted.csv"), {}
    for row in rows_of(done / "results.csv"):
        alphas[row["id"]] = float(row["alpha"])
    for row in rows:
        assert row["pasted"].endswith(".jpg")
        with Image.open(row["photograph"]) as taken, Image.open(done / row["pasted"]) as result:
            assert result.format == "JPEG" and result.quantization == taken.quantization
            assert not result.getexif()
        photograph, pasted = read_image(row["photograph"]), read_image(done / row["pasted"])
        off = np.abs(pasted.astype(int) - photograph)
        if alphas[row["id"]] == 0:
            assert off.mean() < 1
        assert np.quantile(off, 0.8) <= 3, "what is not the face stays"
        record = read_provenance(done / row["pasted"])
        assert record is not None and record.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert main(words) == 1
    assert "(0 made; already there: 2)" in capsys.readouterr().out
    for path in (done / "pasted").glob("*.jpg"):
        path.unlink()
    assert sorted(path.name for path in (done / "pasted").iterdir()) == before


@pytest.mark.slow
def test_method_paper_is_pasted_with_colours_matched(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = (*PASTED[:3], "--method", "paper", "--alpha", "0.3")
    assert main(command(album, out, *more)) == 1
    (row,) = rows_of(out / "pasted.csv")
    photograph, result = read_image(row["photograph"]), read_image(out / row["pasted"])
    changed = (result != photograph).any(-1)
    assert 0.01 < changed.mean() < 0.2
    assert np.abs(result.astype(int) - photograph)[changed].mean() > 1


def test_the_most_neutral_photographs_are_used_and_named(
    album: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    assert main(command(album, out, "--neutral", "1")) == 1
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("most neutral of ")]
    assert len(lines) == 2
    assert lines[0].endswith("29/still.jpg")
    assert lines[1].endswith(("36/a.jpg", "36/b.jpg"))
    used = {Path(r["file"]).name for r in rows_of(out / "inputs.csv")}
    assert "surprised.jpg" not in used


@pytest.mark.slow
def test_a_batch_takes_photographs_too(album: Path, done: Path, tmp_path: Path, capsys) -> None:
    rows = ["expression,source,target,alpha", "29/smile.jpg,29,36,1", "36/wall.png,29,36,1"]
    table = album / "job.csv"
    table.write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    words = ["batch", str(table), "-o", str(out), "--no-compile-cache"]
    assert main([*words, "--align"]) == 1
    assert "1 image made" in capsys.readouterr().out
    (row,) = rows_of(out / "results.csv")
    (same,) = [r for r in rows_of(done / "results.csv") if float(r["alpha"]) == 1]
    np.testing.assert_array_equal(read_image(out / row["file"]), read_image(done / same["file"]))
    told = {Path(r["path"]).name: r["reason"] for r in rows_of(out / "failures.csv")}
    assert "no face found" in told["wall.png"]
    # Faces cut out otherwise are another job.
    assert main([*words, "--align", "--max-yaw", "10"]) == 2
    assert "another job" in capsys.readouterr().err
    assert main([*words[:3], str(tmp_path / "small"), "--no-compile-cache"]) == 1
    assert "glow-jax align" in (tmp_path / "small" / "failures.csv").read_text()


def test_words_that_do_not_go_together(album: Path, tmp_path: Path, capsys) -> None:
    words = [w for w in command(album, tmp_path / "out", "--paste-back") if w != "--align"]
    assert main(words) == 2
    assert "--paste-back needs --align" in capsys.readouterr().err
    assert main(command(album, tmp_path / "out", "--face", "all")) == 2
    assert "face all: a transfer takes one face" in capsys.readouterr().err
    assert main(command(album, tmp_path / "out", "--detector", "nobody")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nobody_to_be_found_is_one_line(tmp_path: Path, capsys) -> None:
    for person in ("a", "b"):
        (tmp_path / person).mkdir()
        Image.fromarray(photographs.wall(400, 300)).save(tmp_path / person / "wall.png")
    words = ["transfer", "--align", "--expression", f"{tmp_path}/a/wall.png", "--source"]
    words += [f"{tmp_path}/a", "--target", f"{tmp_path}/b", "-o", str(tmp_path / "out")]
    assert main(words) != 0
    said = capsys.readouterr().err
    assert "no face found" in said and "Traceback" not in said
