"""The sheet of the demo, of a folder that holds nothing but what the sheet reads."""

from pathlib import Path

import numpy as np
import pytest

from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance
from transfer.demo_sheet import TILE_PX, write_demo_sheet
from transfer.jobs.sheet import GAP_PX, LABEL_PX

MADE = Provenance("compositeWithTrainedAlgorithmicMedia", "photo64", {})
STEP_X, STEP_Y = TILE_PX + GAP_PX, TILE_PX + LABEL_PX + GAP_PX
GREY = {"source": 10, "smile": 40, "ann": 70, "bob": 100}


def picture(path: Path, grey: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_image(path, np.full((256, 256, 3), grey, np.uint8), MADE)
    return path


def folder(top: Path, missing: str = "") -> Path:
    """Outputs of smile on ann and bob by two methods; grey levels tell which is which."""
    results, pasted, grey = ["id,expression,method,alpha"], ["id,photograph,pasted"], 120
    smile = picture(top / "in" / "smile.png", GREY["smile"])
    for target in ("ann", "bob"):
        photograph = picture(top / "in" / f"{target}.png", GREY[target])
        for method, alpha in (("glow", "1.0"), ("paper", "0.5")):
            name = f"{target}-{method}"
            results.append(f"{name},{smile},{method},{alpha}")
            if name != missing:
                made = picture(top / "pasted" / f"{name}.png", grey)
                pasted.append(f"{name},{photograph},{made.relative_to(top)}")
            grey += 30
    (top / "results.csv").write_text("\n".join(results) + "\n")
    (top / "pasted.csv").write_text("\n".join(pasted) + "\n")
    return top


def greys(sheet: np.ndarray, row: int) -> list[int]:
    """The grey level in the middle of each tile of a row."""
    y = LABEL_PX + GAP_PX + row * STEP_Y + TILE_PX // 4
    return [int(sheet[y, GAP_PX + column * STEP_X + TILE_PX // 4, 0]) for column in range(5)]


def test_each_output_stands_in_its_target_s_column(tmp_path: Path) -> None:
    source = picture(tmp_path / "in" / "source.png", GREY["source"])
    written = write_demo_sheet(folder(tmp_path), source)
    assert written == tmp_path / "sheet.png"
    sheet = read_image(written)
    paper = 250
    assert greys(sheet, 0) == [GREY["source"], GREY["ann"], paper, GREY["bob"], paper]
    assert greys(sheet, 1) == [GREY["smile"], 120, 150, 180, 210]
    record = read_provenance(written)
    assert record is not None and record.model == "photo64"
    assert record.recipe == {"job": ["ann-glow", "ann-paper", "bob-glow", "bob-paper"]}


@pytest.mark.parametrize("missing", ["ann-paper", "bob-glow"])
def test_an_output_that_is_missing_leaves_its_cell(tmp_path: Path, missing: str) -> None:
    source = picture(tmp_path / "in" / "source.png", GREY["source"])
    written = write_demo_sheet(folder(tmp_path, missing), source)
    assert written is not None
    column = ["ann-glow", "ann-paper", "bob-glow", "bob-paper"].index(missing)
    wanted = [120, 150, 180, 210]
    wanted[column] = 250
    assert greys(read_image(written), 1)[1:] == wanted


def test_without_outputs_there_is_no_sheet(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("id,expression,method,alpha\n")
    (tmp_path / "pasted.csv").write_text("id,photograph,pasted\n")
    assert write_demo_sheet(tmp_path, tmp_path / "no.png") is None
    assert not (tmp_path / "sheet.png").exists()
