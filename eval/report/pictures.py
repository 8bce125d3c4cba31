"""† Pictures in a report: thumbnails inside the page, the contact sheet, the worst cases.

How many pictures a page holds is bounded, so that its size is, however many outputs there are.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image, features

from eval.files import read_picture
from eval.report.context import Context, find, short_names
from eval.report.markup import Html, captioned, el, join, known, name, number, scrolling
from eval.table import KEYS
from glow_jax.io.errors import InputError

THUMB_PX = 112
ROWS, ALPHAS, WORST = 24, 8, 12
"""At most this many series and alphas on the contact sheet, and worst cases."""


class Album:
    """Thumbnails of a report's pictures. A picture that cannot be read is a labelled box."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._known: dict[Path, str | None] = {}

    def output(self, file: object, alt: str) -> Html:
        """Of an output, named by the table's `file`."""
        there = isinstance(file, str) and file
        return self._picture(self.context.root / str(file) if there else None, alt)

    def expression(self, key: str, alt: str) -> Html:
        """Of the source's expression."""
        return self._picture(find(self.context.expressions, key), alt)

    def target_mean(self, key: str, alt: str) -> Html:
        """Of the target's mean face."""
        return self._picture(find(self.context.target_means, key), alt)

    def _picture(self, path: Path | None, alt: str) -> Html:
        if path is not None and path not in self._known:
            self._known[path] = thumbnail(path)
        data = self._known[path] if path is not None else None
        if data is None:
            said = f"{alt}: no picture"
            return el("span", "no picture", class_="missing", role="img", aria_label=said)
        return el("img", src=data, alt=alt, title=alt, width=THUMB_PX, height=THUMB_PX)


def thumbnail(path: Path, size_px: int = THUMB_PX) -> str | None:
    """A small copy as a data URI (WebP, or JPEG where Pillow lacks it); None if unreadable."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return None
        small = Image.fromarray(read_picture(path).pixels)
        small.thumbnail((size_px, size_px), Image.Resampling.LANCZOS)
        kind = "webp" if features.check("webp") else "jpeg"
        data = io.BytesIO()
        small.save(data, kind, quality=80)
    except (InputError, OSError, ValueError):  # ValueError: a name with a zero byte
        return None
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"


def contact_sheet(scores: pd.DataFrame, album: Album, recommended: float | None) -> Html:
    """A row a series: its expression, the target's mean face, the outputs over alpha.

    Of more series than `ROWS`, or alphas than `ALPHAS`, evenly spaced ones are shown.
    """
    if scores.empty:
        return el("p", "There are no outputs to show.", class_="note")
    series = list(scores[list(KEYS)].drop_duplicates().itertuples(index=False, name=None))
    alphas = sorted(set(scores["alpha"].dropna().astype(float)))
    shown, chosen = _evenly(series, ROWS), _alphas(alphas, recommended)
    plain = bool(scores["alpha"].isna().any())
    heads = [_column(alpha, recommended) for alpha in chosen] + ["output"] * plain
    shorts = short_names(list(scores["expression"]))
    several = scores["source"].nunique() > 1
    rows = []
    for expression, source, target in shown:
        row = join([el("b", name(shorts[expression])), " on ", name(target)])
        row = join([row, " from ", name(source)]) if several else row
        here = f"{shorts[expression]} of {source}"
        outputs = scores[
            (scores["expression"] == expression)
            & (scores["source"] == source)
            & (scores["target"] == target)
        ]
        cells = [
            album.expression(expression, f"expression {here}"),
            album.target_mean(target, f"mean face of {target}"),
            *_outputs(outputs, chosen, plain, album, f"{shorts[expression]} on {target}"),
        ]
        rows.append(el("tr", el("th", row, scope="row"), *(el("td", cell) for cell in cells)))
    head = ["series", "expression", "target mean", *heads]
    caption = _caption(len(shown), len(series), len(chosen), len(alphas), scores)
    grid = el(
        "table",
        captioned(caption),
        el("thead", el("tr", *(el("th", title, scope="col") for title in head))),
        el("tbody", *rows),
        class_="sheet",
    )
    return scrolling(grid, "Contact sheet")


def _outputs(
    outputs: pd.DataFrame, alphas: Sequence[float], plain: bool, album: Album, title: str
) -> list[Html]:
    """The cells of a series, one an alpha, then one without alpha."""
    wanted: list[float | None] = [*alphas, *([None] if plain else [])]
    cells = []
    for alpha in wanted:
        match = outputs["alpha"].isna() if alpha is None else outputs["alpha"] == alpha
        if not match.any():
            cells.append(el("span", "not made", class_="missing"))
            continue
        row = outputs[match].iloc[0]
        alt = title if alpha is None else f"{title}, α {alpha:.4g}"
        flags = flags_of(row)
        distance = row["to_target_mean"]
        below = f"{number(float(distance))}" if pd.notna(distance) else ""
        said = el(
            "small", below, *([" " * bool(below), el("em", ", ".join(flags))] if flags else [])
        )
        cells.append(join([album.output(row["file"], alt), said]))
    return cells


def flags_of(row: pd.Series | Mapping) -> list[str]:
    """What is wrong with an output, in two words each."""
    flags = []
    faces = row["faces"]
    if pd.notna(faces) and faces != 1:
        flags.append("no face" if faces == 0 else f"{int(faces)} faces")
    if row["source"] != row["target"] and row["to_source_mean"] <= row["to_target_mean"]:
        flags.append("nearer source")
    return flags


def _column(alpha: float, recommended: float | None) -> Html:
    mark = el("small", "recommended") if alpha == recommended else ""
    return join([f"α {alpha:.4g}", *([el("br"), mark] if mark else [])])


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
    text = f"{rows} of {of_rows} series" if rows < of_rows else f"All {of_rows} series"
    text += f", {alphas} of {of_alphas} α" if alphas < of_alphas else ""
    if scores["to_target_mean"].notna().any():
        text += ". Under each output: its identity distance to the target mean (less is nearer)"
    return text + "."


def worst_cases(
    worst: Sequence[Mapping], scores: pd.DataFrame, album: Album, most: int = WORST
) -> Html:
    """The worst outputs beside what they were made from, and why they are here."""
    rows = scores.drop_duplicates("id").set_index("id")
    shorts = short_names(list(scores["expression"]))
    cards = []
    for case in worst[:most]:
        if case["id"] not in rows.index:
            continue
        row = rows.loc[case["id"]]
        short = shorts[row["expression"]]
        at = f", α {row['alpha']:.4g}" if known(float(row["alpha"])) else ""
        parts = [
            (album.expression(row["expression"], f"expression {short}"), "expression"),
            (album.target_mean(row["target"], f"mean face of {row['target']}"), "target mean"),
            (album.output(row["file"], f"{short} on {row['target']}{at}"), "output"),
        ]
        pictures = el(
            "div",
            *(el("span", picture, el("small", label)) for picture, label in parts),
            class_="trio",
        )
        what = join([el("b", name(short)), " on ", name(row["target"]), at])
        why = el("p", case["why"])
        cards.append(el("figure", pictures, el("figcaption", what, why, el("code", row["file"]))))
    return el("div", *cards, class_="cards wide") if cards else el("p", "None.", class_="note")
