"""What the judge (`eval`) measures in a result: identity, and Action Units."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.packages import need

SCORES = "scores.sqlite"
ROLES = ("target", "source")
LEAST_CHANGE = 0.5  # of an intensity (0-5): smaller ones are not listed
MOST_LISTED = 5
_judging = threading.Lock()  # DeepFace is not meant for several threads


@dataclasses.dataclass(frozen=True)
class Movement:
    """One Action Unit: its changes of intensity, on the scale 0-5.

    Attributes:
        au: such as "AU12".
        name: in words.
        asked: from the source's neutral face to the expression, or what an edit states; NaN where
            nothing is known of it.
        made: from the target's neutral face to the result.
    """

    au: str
    name: str
    asked: float
    made: float

    @property
    def strength(self) -> float:
        """Size of the change that was asked for; where it is not known, of the one made."""
        return abs(self.asked if np.isfinite(self.asked) else self.made)


@dataclasses.dataclass(frozen=True)
class Figures:
    """The judge's figures of one result; NaN where it finds no face.

    Attributes:
        to_target, to_source: distance of the result's identity to those of the two people.
        threshold: two pictures with a smaller distance count as one person.
        movements: the Action Units that change most, the strongest first.
    """

    to_target: float
    to_source: float
    threshold: float
    movements: tuple[Movement, ...]


def judged(folder: Path, cache: Path) -> Figures:
    """Judge the first output of a folder that `transfer` wrote.

    Args:
        folder: with results.csv.
        cache: private folder for scores, so that a picture is scored once.

    Raises:
        InputError: the extra `eval` is not installed.
    """
    from eval.run import modules_needed

    need("eval", *modules_needed())
    from eval.action_units import default_choice
    from eval.identity import IdentityModel
    from eval.judge import check, judge
    from eval.scoring import Judges
    from eval.study import read_study

    with _judging:
        study = read_study(folder)
        judges = Judges(IdentityModel(home=cache), default_choice(study.photographs))
        scores = judge(study, judges, check(judges), cache / SCORES, workers=0).scores
        assert judges.identity is not None
        threshold = judges.identity.threshold
    row = scores.iloc[0].to_dict()
    to_target, to_source = (float(row.get(f"to_{who}_mean", np.nan)) for who in ROLES)
    return Figures(to_target, to_source, threshold, movements_of(row))


def movements_of(row: dict[str, Any]) -> tuple[Movement, ...]:
    """The Action Units of a row of the judge's table that change most."""
    from eval.table import AUS, NAMES

    found = []
    for au in AUS:
        ends = (f"{au}_expression", f"{au}_source", au, f"{au}_target")
        shown, source, made, target = (float(row.get(end, np.nan)) for end in ends)
        found.append(Movement(au, NAMES[au], shown - source, made - target))
    clear = [one for one in found if one.strength >= LEAST_CHANGE and np.isfinite(one.made)]
    return tuple(sorted(clear, key=lambda one: -one.strength)[:MOST_LISTED])


def why_not_judged() -> str:
    """Why the judge cannot be used here, on one line; "" if it can."""
    from eval.run import modules_needed

    try:
        need("eval", *modules_needed())
    except InputError as error:
        return str(error)
    return ""
