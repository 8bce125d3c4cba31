"""100 odd outputs in one study: each ends in a row, and what failed in the list of failures."""

import io
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter, ImageOps

from glow_jax.cli.main import main
from tests.support.judged import FACES, face, write_table
from tests.support.paths import DEMO

Expected = int | str
"""How many faces are seen; "unread" where no picture can be read; "any" where either is right."""
Maker = Callable[[Path], object]
SMILE = Image.fromarray(face("20_2").pixels)
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> Maker:
    made = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return lambda path: made.save(path, kind, **options)


def data_of(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    SMILE.save(out, kind, **options)
    return out.getvalue()


def written(data: bytes) -> Maker:
    return lambda path: path.write_bytes(data)


def link(target: str) -> Maker:
    return lambda path: path.symlink_to(target)


def oriented(value: int) -> Maker:
    """A picture that is upright only after its EXIF orientation is applied."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[value]
    exif = Image.Exif()
    exif[0x0112] = value
    return saved(SMILE.transpose(back), "JPEG", quality=95, exif=exif)


def png(width: int, height: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG that says it is so large, and holds nearly nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), *extra, (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def frames(kind: str) -> Maker:
    black = Image.new("RGB", SMILE.size)
    return saved(SMILE, kind, save_all=True, append_images=[black, black], duration=50)


def transparent(path: Path) -> None:
    image = SMILE.convert("RGBA")
    image.putalpha(
        Image.fromarray(np.where(np.arange(128) < 20, 0, 255).astype(np.uint8)[None].repeat(128, 0))
    )
    image.save(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(300 * 2**20)


def beside(*names: str) -> Image.Image:
    return Image.fromarray(np.hstack([face(name).pixels for name in names]))


GREY16 = Image.fromarray(np.asarray(SMILE.convert("L")).astype(np.uint16) * 257)
FLOAT = Image.fromarray(np.asarray(SMILE.convert("L")).astype(np.float32))
NAN = Image.fromarray(np.where(np.eye(128) > 0, np.nan, np.asarray(FLOAT)).astype(np.float32))
BIG = (b"zTXt", b"k\0\0" + zlib.compress(bytes(200 * 2**20), 1))

FEW: dict[str, tuple[Expected, Maker]] = {
    "plain.png": (1, saved(SMILE)),
    "black.png": (0, saved(np.zeros((64, 64, 3), np.uint8))),
    "two faces.png": (2, saved(beside("20_2", "29_0"))),
    "one pixel.png": (0, saved(NOISE[:1, :1])),
    "a row.png": (0, saved(NOISE[:1])),
    "a column.png": (0, saved(NOISE[:, :1])),
    "cropped.png": ("any", saved(SMILE.crop((64, 0, 128, 128)))),
    "grey.png": (1, saved(SMILE.convert("L"))),
    "alpha.png": (1, transparent),
    "truncated.png": ("unread", written(data_of("PNG")[:3000])),
    "empty.png": ("unread", written(b"")),
    "text.png": ("unread", written(b"this is no picture\n")),
    "a folder.png": ("unread", lambda path: path.mkdir()),
    "missing.png": ("unread", lambda path: None),
    "a broken link.png": ("unread", link("nowhere.png")),
    "a pipe.png": ("unread", os.mkfifo),
    "a bomb.png": ("unread", written(png(60_000, 60_000))),
    "ünï cödé 人 🙂.png": (0, saved(NOISE)),
    "a \"quoted\" 'name'.png": (0, saved(NOISE)),
    "a\nnew\tline.png": ("unread", written(b"x")),
    "100 %s {} $HOME `id`;#?&.png": (0, saved(NOISE)),
    "<script>alert(1)</script>".replace("/", "\u2215") + ".png": (0, saved(NOISE)),
}
MORE: dict[str, tuple[Expected, Maker]] = {
    "white.png": (0, saved(np.full((64, 64, 3), 255, np.uint8))),
    "noise.png": (0, saved(NOISE)),
    "two by two.png": (0, saved(NOISE[:2, :2])),
    "long row.png": (0, saved(np.zeros((1, 5000, 3), np.uint8))),
    "long column.png": (0, saved(np.zeros((5000, 1, 3), np.uint8))),
    "thin.png": (0, saved(np.zeros((3, 2000, 3), np.uint8))),
    "left half.png": ("any", saved(SMILE.crop((0, 0, 64, 128)))),
    "upper half.png": ("any", saved(SMILE.crop((0, 0, 128, 64)))),
    "lower half.png": ("any", saved(SMILE.crop((0, 64, 128, 128)))),
    "an eye.png": (0, saved(SMILE.crop((30, 45, 60, 65)))),
    "upside down.png": (0, saved(ImageOps.flip(SMILE))),
    "sideways.png": (0, saved(SMILE.rotate(90))),
    "tilted.png": ("any", saved(SMILE.rotate(30))),
    "16 pixels.png": ("any", saved(SMILE.resize((16, 16)))),
    "32 pixels.png": ("any", saved(SMILE.resize((32, 32)))),
    "64 pixels.png": (1, saved(SMILE.resize((64, 64)))),
    "wide.png": ("any", saved(SMILE.resize((256, 128)))),
    "blurred.png": ("any", saved(SMILE.filter(ImageFilter.GaussianBlur(6)))),
    "negative.png": ("any", saved(ImageOps.invert(SMILE))),
    "dark.png": ("any", saved(SMILE.point(lambda v: v // 8))),
    "three faces.png": (3, saved(beside("20_0", "29_0", "36_0"))),
    "20 megapixels.jpg": (1, lambda path: SMILE.resize((4500, 4500)).save(path)),
    "bits.png": ("any", saved(SMILE.convert("1"))),
    "palette.png": (1, saved(SMILE.quantize(64))),
    "palette, transparent.png": ("any", saved(SMILE.quantize(64), transparency=3)),
    "grey, alpha.png": (1, saved(SMILE.convert("LA"))),
    "all transparent.png": (0, saved(Image.new("RGBA", (64, 64), (9, 9, 9, 0)))),
    "colour key.png": (1, saved(SMILE, transparency=(1, 2, 3))),
    "16 bits.png": (1, saved(GREY16)),
    "16 bits.tiff": (1, saved(GREY16, "TIFF")),
    "32 bits.tiff": (1, saved(GREY16.convert("I"), "TIFF")),
    "floats.tiff": (1, saved(FLOAT, "TIFF")),
    "floats, NaN.tiff": ("any", saved(NAN, "TIFF")),
    "Lab.tiff": ("any", saved(Image.new("LAB", (64, 64)), "TIFF")),
    "CMYK.jpg": (1, saved(SMILE.convert("CMYK"), "JPEG")),
    "CMYK.tiff": (1, saved(SMILE.convert("CMYK"), "TIFF")),
    "progressive.jpg": (1, saved(SMILE, "JPEG", progressive=True)),
    "worst.jpg": ("any", saved(SMILE, "JPEG", quality=1)),
    "grey.jpg": (1, saved(SMILE.convert("L"), "JPEG")),
    "still.gif": (1, saved(SMILE, "GIF")),
    "animated.gif": (1, frames("GIF")),
    "animated.webp": (1, frames("WEBP")),
    "animated.png": (1, frames("PNG")),
    "still.webp": (1, saved(SMILE, "WEBP")),
    "a.bmp": (1, saved(SMILE, "BMP")),
    "a.ppm": (1, saved(SMILE, "PPM")),
    "a.tga": (1, saved(SMILE, "TGA")),
    "a.pcx": (1, saved(SMILE, "PCX")),
    "a.ico": ("any", saved(SMILE, "ICO")),
    "a jpeg.png": (1, saved(SMILE, "JPEG")),
    "no suffix": (1, saved(SMILE)),
    ".hidden": (1, saved(SMILE)),
    **{f"oriented {n}.jpg": (1, oriented(n)) for n in range(2, 9)},
    "bad EXIF.jpg": (1, saved(SMILE, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 50)),
    "truncated.jpg": ("unread", written(data_of("JPEG")[:1500])),
    "truncated.gif": ("unread", written(data_of("GIF")[:900])),
    "truncated.webp": ("unread", written(data_of("WEBP")[:900])),
    "only a header.png": ("unread", written(png(64, 64)[:33])),
    "too few rows.png": ("any", written(png(64, 64))),
    "bad checksum.png": ("unread", written(data_of("PNG").replace(b"IDAT", b"IDAU", 1))),
    "zeros.png": ("unread", written(bytes(5000))),
    "random.png": ("unread", written(np.random.default_rng(1).bytes(5000))),
    "page.html": ("unread", written(b"<!doctype html><img src=x>")),
    "drawing.svg": ("unread", written(b'<svg xmlns="http://www.w3.org/2000/svg"/>')),
    "program.eps": ("unread", written(data_of("EPS"))),
    "document.pdf": ("unread", written(data_of("PDF"))),
    "arrays.npz": ("unread", written(b"PK\x03\x04" + bytes(99))),
    "no pixels.png": ("unread", written(png(0, 64))),
    "400 megapixels.png": ("unread", written(png(20_000, 20_000))),
    "110 megapixels.png": ("unread", written(png(11_000, 10_000))),
    "negative size.bmp": (
        "unread",
        written(
            b"BM"
            + struct.pack("<IHHI", 99, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, -5, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0)
        ),
    ),
    "much text.png": ("any", written(png(64, 64, BIG))),
    "300 MiB.png": ("unread", sparse),
    "a link to itself.png": ("unread", link("a link to itself.png")),
    "a link.png": (1, link("plain.png")),
    "endless.png": ("unread", link("/dev/zero")),
    "a terminal.png": ("unread", link("/dev/tty")),
    "-rf.png": (0, saved(NOISE)),
    "a\\b.png": (0, saved(NOISE)),
    "a,b;c.png": (0, saved(NOISE)),
    "x" * 240 + ".png": (0, saved(NOISE)),
    "x" * 300 + ".png": ("unread", lambda path: None),
    "e\u0301 is not \u00e9.png": (0, saved(NOISE)),
    "\u202egnp.thgir": (0, saved(NOISE)),
    "a\x1b[31mcolour.png": (0, saved(NOISE)),
    "a\0zero.png": ("unread", lambda path: None),
    "folder/deep er/b.png": (0, saved(NOISE)),
    "folder": ("unread", lambda path: None),
    ".": ("unread", lambda path: None),
}


def make_odd(folder: Path, odd: dict[str, tuple[Expected, Maker]]) -> Path:
    folder.mkdir()
    for name, (_, make) in odd.items():
        path = folder / name
        if "/" in name:
            path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
    shot, people = DEMO / "expressions" / "smile.png", DEMO / "people"
    rows = [
        {"expression": str(shot), "source": "16", "target": "41", "alpha": i / 100, "file": name}
        for i, name in enumerate(odd)
    ]
    write_table(folder / "results.csv", rows)
    write_table(
        folder / "people.csv",
        [{"person": n, "file": people / f"person-{n}" / "neutral-0.png"} for n in ("16", "41")],
    )
    return folder


def check(out: Path, odd: dict[str, tuple[Expected, Maker]]) -> None:
    """A row for each, the faces that are seen, and every failure in the report's data."""
    frame = pd.read_csv(out / "report" / "scores.csv", dtype={"file": str}, lineterminator="\n")
    assert len(frame) == len(odd)
    failures = json.loads((out / "report" / "figures.json").read_text())["run"]["failures"]
    listed: dict[str, dict[str, str]] = {}
    for file, stage, reason in failures:
        assert file.isprintable() and reason.isprintable() and len(reason) < 400, (file, reason)
        assert " at 0x" not in reason, "the same failure would read differently each time"
        listed.setdefault(file, {})[stage] = reason
    wrong = []
    for (name, (expected, _)), row in zip(odd.items(), frame.to_dict("records"), strict=True):
        path = str(out / name)
        stages = listed.get(path if path.isprintable() else repr(path), {})
        known = row["to_target_mean"] == row["to_target_mean"]
        read = "reading" not in stages
        seen: Expected = int(row["faces"]) if read else "unread"
        if known != bool(row["faces"]) or known == ("identity" in stages or not read):
            wrong.append((name, "row and list differ", row["faces"], stages))
        if expected not in ("any", seen):
            wrong.append((name, f"expected {expected}", seen, stages))
    assert not wrong, "\n".join(map(repr, wrong))
    page = (out / "report" / "index.html").read_text("utf-8")
    assert "<script" not in page.lower()


def test_a_few_odd_outputs(tmp_path: Path, capsys, tmp_path_factory) -> None:
    out = make_odd(tmp_path / "out", FEW)
    weights = str(tmp_path_factory.mktemp("weights"))
    assert main(["eval", str(out), "--cache", weights, "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert len(printed.out.splitlines()) == 1 and " failures listed; report: " in printed.out
    check(out, FEW)


@pytest.mark.slow
def test_a_hundred_odd_outputs(tmp_path: Path) -> None:
    odd = FEW | MORE
    assert len(odd) >= 100
    out = make_odd(tmp_path / "out", odd)
    command = Path(sys.executable).with_name("glow-jax")
    words = [command, "eval", out, "--cache", tmp_path / "weights", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(FACES.parent.parent), "HOME": str(tmp_path)}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1, ended.stderr
    assert re.fullmatch(r"judging .*\n?", ended.stderr), ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    check(out, odd)
