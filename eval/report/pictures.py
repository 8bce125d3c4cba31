"""Pictures in a report: thumbnails inside the page, the contact sheet, the worst cases.

How many pictures a page holds is bounded, so that its size is, however many outputs there are.
"""

import base64
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, features

from eval.photographs import read_face
from eval.report.context import Context, find, short_names
from eval.report.numbers import known, number
from eval.table import KEYS
from glow_jax.io.face_numbers import split_face

THUMB_PX = 112
ROWS, ALPHAS, WORST = 24, 8, 12
"""At most this many series and alphas on the contact sheet, and worst cases."""


@dataclass(frozen=True)
class Thumbnail:
    """A small copy as a data URI, None where there is no picture; `alt` says what it shows."""

    data: str | None
    alt: str
    side_px: int = THUMB_PX


@dataclass(frozen=True)
class Series:
    """One expression on one target; source and alpha are empty where they need not be named."""

    expression: str
    target: str
    source: str = ""
    alpha: str = ""


@dataclass(frozen=True)
class Output:
    """An output on the contact sheet, its identity distance, and what is wrong with it."""

    picture: Thumbnail
    distance: str
    flags: Sequence[str]


@dataclass(frozen=True)
class Row:
    """A series on the contact sheet; an output that was not made is None."""

    series: Series
    expression: Thumbnail
    reference: Thumbnail
    outputs: Sequence[Output | None]


@dataclass(frozen=True)
class Sheet:
    """The contact sheet; `head` is the title of each column, and a remark below it."""

    caption: str
    head: Sequence[tuple[str, str]]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Case:
    """One of the worst outputs beside what it was made from, each picture with its label."""

    series: Series
    pictures: Sequence[tuple[Thumbnail, str]]
    why: str
    file: str


Cut = Callable[[np.ndarray], np.ndarray | None]


def whole(pixels: np.ndarray) -> None:
    """Cut nothing out."""


class Album:
    """Thumbnails of a report's pictures; each file is read once."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._data: dict[Path, str | None] = {}

    def output(self, file: object, alt: str) -> Thumbnail:
        """Of an output, named by the table's `file`."""
        there = isinstance(file, str) and file
        return self._picture(self.context.root / str(file) if there else None, alt)

    def expression(self, key: str, alt: str) -> Thumbnail:
        """Of the source's expression; of a photograph, its face."""
        return self._picture(find(self.context.expressions, key), alt, self.context.cut_face)

    def reference(self, target: str) -> Thumbnail:
        """Of the target's reference picture."""
        alt = f"{self.context.reference.name} of {target}"
        return self._picture(find(self.context.target_references, target), alt)

    def _picture(self, path: Path | None, alt: str, cut_face: Cut = whole) -> Thumbnail:
        if path is not None and path not in self._data:
            self._data[path] = thumbnail(path, cut_face=cut_face)
        return Thumbnail(self._data[path] if path is not None else None, alt)


def thumbnail(path: Path, size_px: int = THUMB_PX, cut_face: Cut = whole) -> str | None:
    """A small copy as a data URI (WebP, or JPEG where Pillow lacks it); None if unreadable.

    Args:
        path: of the picture.
        size_px: of its longer side.
        cut_face: from its pixels to what is shown; None where they are shown whole.
    """
    try:
        if not os.path.isfile(split_face(path)[0]):  # opening a pipe would wait for ever
            return None
        pixels = read_face(path).pixels
        face = cut_face(pixels)
        small = Image.fromarray(pixels if face is None else face)
        small.thumbnail((size_px, size_px), Image.Resampling.LANCZOS)
        kind = "webp" if features.check("webp") else "jpeg"
        data = io.BytesIO()
        small.save(data, kind, quality=80)
    except Exception:  # of one picture, and the report has others; what failed is listed in it
        return None
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def contact_sheet(scores: pd.DataFrame, album: Album, recommended: float | None) -> Sheet | None:
    """A row for each series: its expression, the target's reference, the outputs over alpha.

    Of more series than `ROWS`, or alphas than `ALPHAS`, evenly spaced ones are shown. None without
    an output.
    """
    if scores.empty:
        return None
    series = list(scores[list(KEYS)].drop_duplicates().itertuples(index=False, name=None))
    alphas = sorted(set(scores["alpha"].dropna().astype(float)))
    shown, chosen = _evenly(series, ROWS), _alphas(alphas, recommended)
    has_plain = bool(scores["alpha"].isna().any())
    wanted: list[float | None] = [*chosen, *([None] if has_plain else [])]
    shorts = short_names(list(scores["expression"]))
    several = scores["source"].nunique() > 1
    rows = []
    for expression, source, target in shown:
        short = shorts[expression]
        outputs = scores[
            (scores["expression"] == expression)
            & (scores["source"] == source)
            & (scores["target"] == target)
        ]
        rows.append(
            Row(
                Series(short, target, source if several else ""),
                album.expression(expression, f"expression {short} of {source}"),
                album.reference(target),
                [_output(outputs, alpha, album, f"{short} on {target}") for alpha in wanted],
            )
        )
    head = [("series", ""), ("expression", ""), ("target", album.context.reference.short)]
    head += [(f"α {alpha:.4g}", "recommended" if alpha == recommended else "") for alpha in chosen]
    head += [("output", "")] * has_plain
    return Sheet(_caption(len(shown), len(series), len(chosen), len(alphas), scores), head, rows)


def _output(outputs: pd.DataFrame, alpha: float | None, album: Album, title: str) -> Output | None:
    """The output of a series at an alpha, or the one without alpha; None if it was not made."""
    match = outputs["alpha"].isna() if alpha is None else outputs["alpha"] == alpha
    if not match.any():
        return None
    row = outputs[match].iloc[0]
    alt = title if alpha is None else f"{title}, α {alpha:.4g}"
    distance = float(row["to_target_mean"])
    shown = number(distance) if known(distance) else ""
    return Output(album.output(row["file"], alt), shown, flags_of(row))


def flags_of(row: pd.Series | Mapping) -> list[str]:
    """What is wrong with an output, in two words each."""
    flags = []
    faces = row["faces"]
    if pd.notna(faces) and faces != 1:
        flags.append("no face" if faces == 0 else f"{int(faces)} faces")
    if row["source"] != row["target"] and row["to_source_mean"] <= row["to_target_mean"]:
        flags.append("nearer source")
    return flags


def _alphas(alphas: Sequence[float], recommended: float | None) -> list[float]:
    """At most `ALPHAS` of them, the recommended one among them."""
    few = _evenly(alphas, ALPHAS)
    if recommended is not None and recommended in alphas and recommended not in few:
        nearest = min(few[1:-1], key=lambda alpha: abs(alpha - recommended))
        few = sorted({*few, recommended} - {nearest})
    return few


def _evenly(items: Sequence, most: int) -> list:
    """At most `most` of them, evenly spaced, the first and the last included."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _caption(rows: int, of_rows: int, alphas: int, of_alphas: int, scores: pd.DataFrame) -> str:
    """What is shown, out of what, and what the small print is."""
    text = f"All {of_rows} series" if of_rows > 1 else "1 series"
    text = f"{rows} of {of_rows} series" if rows < of_rows else text
    text += f", {alphas} of {of_alphas} α" if alphas < of_alphas else ""
    if scores["to_target_mean"].notna().any():
        text += ". Under each output: its identity distance to the target (less is nearer)"
    return text + "."


def worst_cases(
    worst: Sequence[Mapping], scores: pd.DataFrame, album: Album, most: int = WORST
) -> list[Case]:
    """The worst outputs beside what they were made from, and why they are here."""
    rows = scores.drop_duplicates("id").set_index("id")
    shorts = short_names(list(scores["expression"]))
    cases = []
    for case in worst[:most]:
        if case["id"] not in rows.index:
            continue
        row = rows.loc[case["id"]]
        short, target = shorts[row["expression"]], row["target"]
        at = f"α {row['alpha']:.4g}" if known(float(row["alpha"])) else ""
        alt = f"{short} on {target}, {at}" if at else f"{short} on {target}"
        pictures = [
            (album.expression(row["expression"], f"expression {short}"), "expression"),
            (album.reference(target), f"target, {album.context.reference.short}"),
            (album.output(row["file"], alt), "output"),
        ]
        cases.append(Case(Series(short, target, alpha=at), pictures, case["why"], row["file"]))
    return cases
