"""ARKit's blendshapes as Action Units (AUs): shared by renders, labels and the judge."""

from collections.abc import Mapping

# Action Units as blendshapes, left and right together. FaceKit's own assignment, but for AU10, AU25
# and AU26, where the shapes named here look more like the FACS manual's pictures.
BLENDSHAPES: Mapping[str, str] = {
    "AU1": "browInnerUp",
    "AU2": "browOuterUp",
    "AU4": "browDown",
    "AU5": "eyeWide",
    "AU6": "cheekSquint",
    "AU7": "eyeSquint",
    "AU9": "noseSneer",
    "AU10": "mouthUpperUp",
    "AU12": "mouthSmile",
    "AU14": "mouthDimple",
    "AU15": "mouthFrown",
    "AU17": "mouthShrugLower",
    "AU18": "mouthPucker",
    "AU20": "mouthStretch",
    "AU24": "mouthPress",
    "AU25": "mouthLowerDown",
    "AU26": "jawOpen",
    "AU45": "eyeBlink",
}


def mean_of_sides(values: Mapping[str, float], name: str) -> float:
    """A blendshape by its name without Left or Right: of both sides, the mean; NaN without any.

    Args:
        values: of single blendshapes, such as "jawOpen" and "eyeBlinkLeft".
        name: such as "eyeBlink".
    """
    found = [values[n] for n in (name, f"{name}Left", f"{name}Right") if n in values]
    return sum(found) / len(found) if found else float("nan")
