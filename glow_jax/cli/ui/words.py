"""The page's sentences and its pieces of HTML."""

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from glow_jax.cli.ui.figures import Figures, Movement
from glow_jax.io.output_schema import ABSOLUTE, NOTHING

CONSENT = (
    "Use pictures of people who agreed to it, or of people who do not exist. Do not deceive, "
    "harass or identify anybody. Pictures stay on the computer that runs this page, and are "
    "deleted after an hour and when the page is ended. Results say in their metadata that they "
    "were edited."
)
MOST_LISTED = 3  # pictures in a warning
MOST_HELD = 30  # rows of frames without a face
SCALE = 5.0  # of intensities
_HOLDER = "this.closest('[id$=-result]')"
_CUT = f"{_HOLDER}.style.setProperty('--cut', this.value + '%')"
_UNCUT = f"this.value = parseFloat({_HOLDER}.style.getPropertyValue('--cut') || 50)"


def picture_uri(image: np.ndarray) -> str:
    """A picture, uint8 (H, W, 3), as a data URI: small ones lossless, photographs as JPEG."""
    buffer = io.BytesIO()
    small = image.shape[0] * image.shape[1] <= 128 * 128
    kind, how = ("png", {}) if small else ("jpeg", {"quality": 90})
    Image.fromarray(image.squeeze()).save(buffer, kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def comparison(before: np.ndarray, after: np.ndarray, tag: str) -> str:
    """Two pictures of one size, of which a slider uncovers more or less; `tag` names the second.

    The slider stays where it is when the pictures change: its place belongs to the page's element
    around them.
    """
    height, width = before.shape[:2]
    shape = f"aspect-ratio:{width}/{height};--ratio:{width / height:.4f}"
    return (
        f'<div class="wipe" style="{shape}">'
        f'<img src="{picture_uri(before)}" alt="Target before">'
        f'<img src="{picture_uri(after)}" alt="Target edited" class="after">'
        '<span class="line"></span><span class="tag left">before</span>'
        f'<span class="tag right">{html.escape(tag)}</span>'
        '<input type="range" min="0" max="100" value="50" aria-label="Before and after" '
        f'oninput="{_CUT}" onfocus="{_UNCUT}"></div>'
    )


def sheet(picture: np.ndarray, n_bad: int) -> str:
    """A sheet of samples, uint8 (H, W, C)."""
    bad = [f"Drawn grey, because pixels are not finite: {n_bad} of the faces."] if n_bad else []
    shown = f'<img class="sheet" src="{picture_uri(picture)}" alt="Samples of the model">'
    return shown + lines(bad, "warn")


def command(text: str) -> str:
    """A command line, with a button that copies it."""
    copy = "navigator.clipboard.writeText(this.closest('.command').querySelector('pre').innerText)"
    return (
        '<div class="command"><div><h4>The same result on the command line</h4>'
        f"<button onclick=\"{copy}.then(() => this.innerText = 'Copied')\">Copy</button></div>"
        f'<pre tabindex="0">{html.escape(text)}</pre></div>'
    )


def example(text: str) -> str:
    """An example of a file."""
    return f'<div class="command"><h4>Example</h4><pre>{html.escape(text)}</pre></div>'


def thumbnails(element: str, pictures: Sequence[Path]) -> str:
    """Style that shows a picture above each choice of an element."""
    rules = []
    for i, path in enumerate(pictures, 1):
        data = base64.b64encode(path.read_bytes()).decode()
        where = f"#{element} label:nth-of-type({i})"
        rules.append(f"{where} {{ background-image: url(data:image/png;base64,{data}); }}")
    return "\n".join(rules)


def placeholder(text: str) -> str:
    """What stands where a result will be."""
    return f'<div class="empty">{html.escape(text)}</div>'


def lines(sentences: Iterable[str], kind: str = "note") -> str:
    """Sentences as a list; "" for none."""
    items = "".join(f"<li>{html.escape(one)}</li>" for one in sentences)
    return f'<ul class="{kind}" role="status">{items}</ul>' if items else ""


def held_table(rows: Sequence[tuple[str, str]]) -> str:
    """Frames without a face, and why; "" for none."""
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td>{html.escape(frames)}</td><td>{html.escape(why)}</td></tr>"
        for frames, why in rows[:MOST_HELD]
    )
    more = len(rows) - MOST_HELD
    rest = f"<p class=small>{more} more in the table of the ZIP.</p>" if more > 0 else ""
    return (
        '<div class="figures held"><h4>Frames without a face: the last expression is held</h4>'
        "<table><thead><tr><th scope=col>Frames</th><th scope=col>Why</th></tr></thead>"
        f"<tbody>{cells}</tbody></table>{rest}</div>"
    )


def remarks(note: str, alpha: float, kept: float = 1.0) -> list[str]:
    """What to know of an output, from the column `note` of results.csv and the share applied."""
    found = []
    if ABSOLUTE in note:
        found.append(
            "The expression is estimated from one picture, which is less exact. Add neutral "
            "pictures of the same person to improve it."
        )
    if NOTHING in note:
        found.append(
            "The expression does not differ from a neutral face by more than the noise of the "
            "estimate: nothing is changed."
        )
    if kept < 1:
        found.append(
            f"Only {100 * kept:.0f} % of the edit was applied, because more of it does not decode."
        )
    if alpha > 1:
        found.append("Above 100 % the expression is exaggerated.")
    return found


def unlikely(bits: dict[str, float], limit: float | None) -> list[str]:
    """A warning about pictures that are unlikely under the model.

    Args:
        bits: bits/dim by the picture's name.
        limit: bits/dim that 99.9 % of the model's held-out pictures stay below; None is unknown.
    """
    if limit is None:
        return []
    far = sorted(
        ((value, name) for name, value in bits.items() if not value <= limit), reverse=True
    )
    if not far:
        return []
    named = ", ".join(f"{name} ({value:.2f} bits/dim)" for value, name in far[:MOST_LISTED])
    more = f" and {len(far) - MOST_LISTED} more" if len(far) > MOST_LISTED else ""
    return [
        "Unlike the pictures that the model knows, of which 99.9 % are below "
        f"{limit:.2f} bits/dim: {named}{more}. The result may be poor: light, pose or glasses may "
        "be unusual."
    ]


def figures_html(figures: Figures, title: str, column: str) -> str:
    """The judge's figures as a sentence on identity and a table of Action Units.

    Args:
        figures: of a result.
        title: above them.
        column: heading of the changes that were asked for.
    """
    return (
        f'<div class="figures"><h4>{html.escape(title)}</h4>'
        f"<p>{html.escape(identity_sentence(figures))}</p>{_table(figures.movements, column)}</div>"
    )


def identity_sentence(figures: Figures) -> str:
    """Whether the result still shows the target."""
    if not math.isfinite(figures.to_target):
        return "Identity: not measured, because no face was found."
    same = figures.to_target <= figures.threshold
    verdict = "still counts as the target" if same else "no longer counts as the target"
    text = (
        f"Identity: the result {verdict}: distance {figures.to_target:.2f}, and "
        f"{figures.threshold:.2f} is the limit for one person."
    )
    if math.isfinite(figures.to_source):
        text += f" Its distance to the source is {figures.to_source:.2f}."
    return text


def _table(movements: Sequence[Movement], column: str) -> str:
    if not movements:
        return "<p>No Action Unit changes clearly.</p>"
    rows = "".join(
        f"<tr><th scope=row>{html.escape(one.name)} <span>{one.au}</span></th>"
        f"<td>{_bar(one.asked)}</td><td>{_bar(one.made)}</td></tr>"
        for one in movements
    )
    return (
        f"<table><thead><tr><th scope=col>Action Unit</th><th scope=col>{html.escape(column)}</th>"
        f"<th scope=col>result moves</th></tr></thead><tbody>{rows}</tbody></table>"
        "<p class=small>Changes from the neutral face, on the scale of 0 to 5.</p>"
    )


def _bar(change: float) -> str:
    if not math.isfinite(change):
        return "–"
    share = min(1.0, abs(change) / SCALE)
    kind = "bar minus" if change < 0 else "bar"
    return f'<span class="{kind}" style="--share:{share:.2f}"></span><b>{change:+.1f}</b>'
