"""Points between lids and brows, which keep brows as they are when lids move.

When a lid closes, skin that was hidden in its crease is seen, and the brow stays. A spline through
the landmarks alone stretches everything from the lid's edge to the landmarks of the brow, which are
on its upper side, so that brows become broad and dark. With the points of this module, what is near
the lid moves with the lid, what is near the brow moves with the brow, and the band between them is
stretched. Where lid and brow come nearer to each other, all of the skin between them is compressed
evenly, so that it does not fold.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Landmarks = Float[Array, "B 68 2"]
Points = Float[Array, "B 92 2"]

# Landmarks of the upper lids, and of the brow above each.
LIDS = np.array([36, 37, 37, 38, 38, 39, 42, 43, 43, 44, 44, 45])
BROWS = np.array([17, 18, 19, 19, 20, 21, 22, 23, 24, 24, 25, 26])
NEAR_LID, NEAR_BROW = 0.3, 0.6  # ends of the band, in the distance of the lid from the brow


def with_creases(landmarks: Landmarks, displacements: Landmarks) -> tuple[Points, Points]:
    """Landmarks (B, 68, 2) and displacements (B, 68, 2), followed by those of 24 points."""
    lid, brow = landmarks[:, LIDS], landmarks[:, BROWS]
    of_lid, of_brow = displacements[:, LIDS], displacements[:, BROWS]
    parts = ((of_brow - of_lid) * (brow - lid)).sum(-1, keepdims=True) > 0
    points, moves = [landmarks], [displacements]
    for share, alone in ((NEAR_LID, 0.0), (NEAR_BROW, 1.0)):
        points.append(lid + share * (brow - lid))
        moves.append(of_lid + jnp.where(parts, alone, share) * (of_brow - of_lid))
    return jnp.concatenate(points, 1), jnp.concatenate(moves, 1)
