"""The Action Units of the expression models by name, in plain words, and combinations of them.

A unit is a movement of the Facial Action Coding System (Ekman, Friesen, Hager 2002). Its activation
is 0 in a neutral face and 1 at full strength; a negative activation is the opposite movement. The
ranges are those in which the warp of a neutral face still looks like a face (`glow-jax aus -o`
shows them): expression models are fitted on activations from 0 to 1, and extrapolate below 0.

The emotions are combinations after EMFACS (Friesen, Ekman 1983), of units that the models have.
"""

from collections.abc import Mapping
from typing import NamedTuple


class ActionUnit(NamedTuple):
    """One Action Unit.

    Attributes:
        word: plain words, joined by hyphens; the command line's option without its dashes.
        moves: what it moves.
        low, high: the least and the greatest activation that looks like a face.
    """

    word: str
    moves: str
    low: float
    high: float


ACTION_UNITS: Mapping[str, ActionUnit] = {
    "AU1": ActionUnit("raise-inner-brows", "inner ends of the brows, up", -0.5, 1.2),
    "AU2": ActionUnit("raise-outer-brows", "outer ends of the brows, up", -0.5, 1.2),
    "AU4": ActionUnit("lower-brows", "brows, down and together", -0.5, 1.2),
    "AU5": ActionUnit("widen-eyes", "upper lids, up", -1.0, 1.2),
    "AU6": ActionUnit("raise-cheeks", "cheeks, up; wrinkles beside the eyes", -0.5, 1.2),
    "AU7": ActionUnit("squint", "lids, tightened", -1.0, 1.2),
    "AU9": ActionUnit("wrinkle-nose", "nose, wrinkled; upper lip, up", -0.3, 1.0),
    "AU10": ActionUnit("raise-upper-lip", "upper lip, up", -0.3, 1.0),
    "AU12": ActionUnit("smile", "corners of the mouth, up and outwards", -0.5, 1.2),
    "AU14": ActionUnit("dimple", "corners of the mouth, inwards", -0.5, 1.2),
    "AU15": ActionUnit("lower-mouth-corners", "corners of the mouth, down", -0.5, 1.2),
    "AU17": ActionUnit("raise-chin", "chin and lower lip, up", -0.5, 1.0),
    "AU18": ActionUnit("pucker", "lips, together and forwards", -0.5, 1.0),
    "AU20": ActionUnit("stretch-lips", "corners of the mouth, outwards", -0.5, 1.2),
    "AU24": ActionUnit("press-lips", "lips, pressed together", -0.5, 1.2),
    "AU25": ActionUnit("part-lips", "lips, apart", -0.5, 1.2),
    "AU26": ActionUnit("open-mouth", "jaw, down", 0.0, 1.0),
    "AU45": ActionUnit("close-eyes", "lids, shut, as in a blink", -0.5, 1.0),
}

COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "raise-brows": ("AU1", "AU2"),
    "happiness": ("AU6", "AU12"),
    "sadness": ("AU1", "AU4", "AU15"),
    "surprise": ("AU1", "AU2", "AU5", "AU26"),
    "fear": ("AU1", "AU2", "AU4", "AU5", "AU20", "AU25"),
    "anger": ("AU4", "AU7", "AU24"),
    "disgust": ("AU9", "AU10", "AU15"),
}

WORDS: Mapping[str, tuple[str, ...]] = {
    **{unit.word: (name,) for name, unit in ACTION_UNITS.items()},
    **COMBINATIONS,
}
"""From every plain word to the units that it stands for, each at the word's activation."""


def units_of(name: str) -> tuple[str, ...]:
    """The units that a name stands for: "AU12" or "au12", or a key of `WORDS`; () if none."""
    if name.upper() in ACTION_UNITS:
        return (name.upper(),)
    return WORDS.get(name.lower().replace("_", "-").replace(" ", "-"), ())
