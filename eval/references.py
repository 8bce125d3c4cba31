"""Reference pictures: what an expression is read against, and what doing nothing would leave.

Some methods edit a person's most neutral picture, others the decoded mean of their latents. The
report calls the reference picture by what it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """What a person's reference is called.

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
UNSPECIFIED = Reference("reference picture", "reference")

OF_METHOD = {"": MEAN_FACE, "paper": MEAN_FACE, "warp": NEUTRAL_PICTURE}
"""By the column `method` of results.csv. Empty: a folder of somebody else's, whose `means/` holds
mean faces."""


def reference_of(methods: Iterable[str], pictures: int, people: int) -> Reference:
    """What the references of a folder are.

    Args:
        methods: of its outputs.
        pictures: how many people have a reference picture.
        people: how many people there are.
    """
    if not pictures:
        return AVERAGE
    kinds = {OF_METHOD.get(method, UNSPECIFIED) for method in methods}
    return kinds.pop() if len(kinds) == 1 and pictures == people else UNSPECIFIED
