"""Names of reference pictures in a report.

An expression is measured relative to the reference picture of its person, and the target's
reference picture is the result without transfer. Some methods edit a person's most neutral picture,
others the decoded mean of the person's latents; the report uses the name that fits.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from eval.stated import METHODS


@dataclass(frozen=True)
class Reference:
    """The name of a reference picture.

    Attributes:
        name: as in "the target's NAME".
        short: as in the heading "target, SHORT".
    """

    name: str
    short: str


NEUTRAL_PICTURE = Reference("neutral picture", "neutral")
MEAN_FACE = Reference("mean face", "mean")
AVERAGE = Reference("average over photographs", "average")
"""There is no picture: the mean of what is read in a person's photographs."""
UNEDITED = Reference("unedited picture", "unedited")
UNSPECIFIED = Reference("reference picture", "reference")

OF_METHOD = {"": MEAN_FACE, "paper": MEAN_FACE, "warp": NEUTRAL_PICTURE, "glow": NEUTRAL_PICTURE}
"""By the column `method` of results.csv. Empty: a folder of somebody else's, whose `means/` holds
mean faces."""


def reference_of(methods: Iterable[str], pictures: int, people: int) -> Reference:
    """The kind of reference pictures in a folder.

    Args:
        methods: methods of the outputs.
        pictures: number of people with a reference picture.
        people: number of people.
    """
    methods = set(methods)
    if methods and methods <= set(METHODS):
        return UNEDITED
    if not pictures:
        return AVERAGE
    kinds = {OF_METHOD.get(method, UNSPECIFIED) for method in methods}
    return kinds.pop() if len(kinds) == 1 and pictures == people else UNSPECIFIED
