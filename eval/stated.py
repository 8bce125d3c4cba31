"""What an edit states of Action Units (AUs), as the judge's intensities (0-5).

An edit is the text of `glow-jax edit` in job.json, such as "neutral, AU12=0.8, AU4-0.3": an AU that
is set gets 5 times its activation, whatever the picture shows; an AU that is added to gets 5 times
the activation more than the judge reads in the unedited picture; all others stay as they are read
there, or with "neutral" become 0. What the maker of the outputs read does not enter.
"""

import re

import numpy as np

from eval.table import AUS

FULL = 5.0  # intensity of an activation of 1
METHODS = ("edit", "direction", "interpolate")
"""Methods that edit pictures: the reference is the unedited picture."""

_STATED = re.compile(r"AU(\d{1,2})(=|(?=[+-]))([+-]?[\d.]+(?:e[+-]?\d+)?)")


def wanted(edit: str, unedited: np.ndarray) -> np.ndarray:
    """(17,) intensities that an edit states; NaN where the unedited picture's are not known.

    Args:
        edit: the text.
        unedited: (17,) intensities of the unedited picture.

    Raises:
        ValueError: the text is of another form.
    """
    words = [word for word in edit.split(", ") if word]
    result = np.where(np.isnan(unedited), np.nan, 0) if "neutral" in words else unedited.copy()
    for word in words:
        if word == "neutral":
            continue
        match = _STATED.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} states no Action Unit")
        name, value = f"AU{int(match[1]):02d}", FULL * float(match[3])
        if name in AUS:
            i = AUS.index(name)
            result[i] = value + (0 * unedited[i] if match[2] else result[i])
    return np.clip(result, 0, FULL)
