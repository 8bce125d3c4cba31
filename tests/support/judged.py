"""Pictures of people who do not exist, and studies made of them, for the tests of the judge."""

import csv
import functools
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from eval.files import Picture, read_picture
from eval.table import AUS
from tests.support.paths import FACES

PEOPLE = {"20": "id00020", "29": "id00029", "36": "id00036"}


@functools.cache
def face(name: str) -> Picture:
    """`20_2` is picture 2 of person 20."""
    return read_picture(FACES / f"id000{name}.webp")


def truth(name: str) -> dict[str, float]:
    """The activations that a picture was rendered with, 0-1."""
    rows = map(json.loads, (FACES / "labels.jsonl").read_text().splitlines())
    (aus,) = (row["aus"] for row in rows if row["file"] == f"id000{name}.webp")
    return {au: aus.get(f"AU{int(au[2:])}", 0) for au in AUS}


def picture(pixels: np.ndarray, path: str = "made-up.png") -> Picture:
    """Pixels as if read from a file."""
    return Picture(Path(path), hashlib.sha256(pixels.tobytes()).hexdigest(), pixels)


def write_table(path: Path, rows: list[dict]) -> None:
    """A CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_study(folder: Path) -> Path:
    """A study of another method's: two expressions of 29 moved to 20 and 36, without moving them.

    At alpha 1 the output is a picture of the target with another expression; at 0 the neutral one.
    """
    folder.mkdir(parents=True)
    for name in ("20_0", "20_2", "20_4", "29_0", "29_1", "29_3", "29_4", "36_0", "36_2", "36_3"):
        Image.fromarray(face(name).pixels).save(folder / f"{name}.png")
    rows = [
        {"expression": f"{shot}.png", "source": "29", "target": of, "alpha": alpha, "file": file}
        for shot, of, moved in (("29_3", "20", "20_2"), ("29_4", "36", "36_2"))
        for alpha, file in ((0.5, f"{of}_0.png"), (1.0, f"{moved}.png"))
    ]
    write_table(folder / "results.csv", rows)
    people = [
        {"person": of, "file": f"{of}_{shot}.png"}
        for of, shots in (("20", "04"), ("29", "01"), ("36", "03"))
        for shot in shots
    ]
    write_table(folder / "people.csv", people)
    return folder
