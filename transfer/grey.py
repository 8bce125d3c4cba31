"""Grey pictures: what methods add to them, and what is pasted into them, gets no colour either.

Pure functions of arrays.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (Rec. 601)


def is_grey(pictures: UInt8[np.ndarray, "... H W C"]) -> Bool[np.ndarray, "..."]:
    """Whether all channels of a picture are equal."""
    return np.asarray((pictures == pictures[..., :1]).all((-3, -2, -1)))


def without_colour(values: Float[np.ndarray, "... C"]) -> Float[np.ndarray, "... C"]:
    """The luma of RGB grey levels, in all three channels."""
    luma = values @ np.array(LUMA, values.dtype)
    return np.repeat(luma[..., None], 3, -1)


def as_grey_as(
    pictures: UInt8[np.ndarray, "B H W C"], values: Float[np.ndarray, "B H W C"]
) -> Float[np.ndarray, "B H W C"]:
    """Edited pictures, without colour where the unedited ones have none."""
    if pictures.shape[-1] != 3 or not (grey := is_grey(pictures)).any():
        return values
    values = values.copy()
    values[grey] = without_colour(values[grey])
    return values
