"""The 68 face landmarks of iBUG 300-W: indices of the parts of the face.

Left and right are those of the person: the right eye is on the left side of a picture that is not
mirrored. This module needs NumPy only, so that the judge can use it too.

Source: Sagonas et al. 2013, "300 Faces in-the-Wild Challenge", figure 1 (its points 1-68 are 0-67).
"""

import numpy as np

N_LANDMARKS = 68
CHIN = 8
JAW = slice(0, 17)
BROWS, RIGHT_BROW, LEFT_BROW = slice(17, 27), slice(17, 22), slice(22, 27)
NOSE = slice(27, 36)
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
EYES = slice(36, 48)
MOUTH_CORNERS = (48, 54)
LIPS, INNER_LIPS = slice(48, 68), slice(60, 68)

# Nose and corners of the eyes, which expressions hardly move; landmark 36 has twice the weight.
STEADY = np.array([*range(27, 37), 36, 39, 42, 45])

# Landmarks of lids and lips that meet when eyes and mouth close: upper and lower ones, in pairs.
UPPER_EDGES = np.array([37, 38, 43, 44, 61, 62, 63])
LOWER_EDGES = np.array([41, 40, 47, 46, 67, 66, 65])
LIP_PAIRS = slice(4, 7)  # the pairs that belong to the lips

# Landmarks on the outer and on the inner edge of the lips, in pairs: upper lip, then lower lip.
LIP_OUTER_EDGES = np.array([50, 51, 52, 58, 57, 56])
LIP_INNER_EDGES = np.array([61, 62, 63, 67, 66, 65])
# Landmarks on the outer edges beside the mouth's corners: upper lip, and lower lip, in pairs.
BESIDE_UPPER, BESIDE_LOWER = np.array([49, 53]), np.array([59, 55])
# Groups of landmarks at and beside the ends of the mouth and of those of the jaw beside them, in
# pairs.
CHEEKS = tuple(
    (np.array(mouth), np.array(jaw))
    for mouth, jaw in [
        ((48, 54, 59, 55, 60, 64, 49, 53), (4, 12, 5, 11, 4, 12, 4, 12)),
        ((48, 54, 59, 55, 60, 64, 49, 53), (3, 13, 4, 12, 3, 13, 3, 13)),
        ((48, 54, 59, 55, 58, 56), (5, 11, 6, 10, 6, 10)),
    ]
)

# Landmark i of a mirrored picture is landmark MIRROR[i] of the picture.
MIRROR = np.array(
    [
        *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
        45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, *range(54, 47, -1),
        *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
    ]
)  # fmt: skip


def eye_distance(landmarks: np.ndarray) -> float:
    """The distance between the middles of the eyes, in the unit of `landmarks` (68, 2 or 3)."""
    return float(np.linalg.norm(landmarks[LEFT_EYE].mean(0) - landmarks[RIGHT_EYE].mean(0)))


def raised_brows(landmarks: np.ndarray, height: float) -> np.ndarray:
    """(10, 2) points above the brows: the brows shifted away from the chin, over the forehead.

    Args:
        landmarks: (68, 2), x right and y down.
        height: of the shift, in distances from the eyes to the chin.
    """
    raised: np.ndarray = landmarks[BROWS] - (landmarks[CHIN] - landmarks[EYES].mean(0)) * height
    return raised


def crop_transform(landmarks: np.ndarray) -> np.ndarray:
    """The transform (2, 3) from a photograph's pixels to sides (0-1) of the aligned face.

    Faces are aligned as in CelebA-HQ. With e the vector between the eyes and m from the midpoint
    of the eyes to that of the mouth's corners, in a photograph:

        x axis      e + (m_y, -m_x), normalised        (m turned by a right angle)
        half side   max(2 |e|, 1.8 |m|)
        centre      midpoint of the eyes + 0.1 m

    Args:
        landmarks: (68, 2), right and down, pixels of the photograph.

    Raises:
        ValueError: eyes and mouth are at one point.

    Source: Karras et al. 2018, appendix C.
    """
    right, left = landmarks[RIGHT_EYE].mean(0), landmarks[LEFT_EYE].mean(0)
    eyes, apart = (right + left) / 2, left - right
    down = landmarks[list(MOUTH_CORNERS)].mean(0) - eyes
    axis = apart + np.array([down[1], -down[0]])
    half = max(2.0 * float(np.hypot(*apart)), 1.8 * float(np.hypot(*down)))
    length = float(np.hypot(*axis))
    if not (half > 0 and length > 0 and np.isfinite(half)):
        raise ValueError("the landmarks are not those of a face")
    x, y = axis / length
    turn = np.array([[x, y], [-y, x]]) / (2 * half)
    return np.column_stack([turn, 0.5 - turn @ (eyes + 0.1 * down)])
