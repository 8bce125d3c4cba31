"""Convert pictures with an ICC profile to sRGB, the colour space of pictures without a profile.

Source: ICC.1:2022 (the header of a profile); IEC 61966-2-1 (sRGB).
"""

import io

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 2**20
SPACES = {"RGB": b"RGB ", "CMYK": b"CMYK", "L": b"GRAY"}  # Pillow's mode -> the profile's
PROBE = 5  # levels per channel at which a profile is compared with sRGB
SAME = 1  # grey levels: largest rounding error of a conversion from sRGB to sRGB


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert the colours of a picture to sRGB.

    The picture is not changed if it has no profile, if the profile is damaged or of another colour
    model (as in viewers), or if it is that of sRGB.

    Args:
        image: mode RGB, L or CMYK.
        profile: ICC profile of the picture; empty if there is none.

    Returns:
        An image of mode RGB if colours were converted, otherwise `image`.
    """
    space = SPACES.get(image.mode)
    if space is None or not _is_profile(profile, space):
        return image
    try:
        convert = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            image.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if image.mode != "CMYK" and _is_identity(convert, image.mode):
            return image
        converted = ImageCms.applyTransform(image, convert)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted


def _is_profile(profile: bytes, space: bytes) -> bool:
    return (
        128 <= len(profile) <= MAX_PROFILE_BYTES
        and profile[16:20] == space
        and profile[36:40] == b"acsp"
    )


def _is_identity(convert: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a conversion changes no colour by more than rounding does."""
    levels = np.linspace(0, 255, PROBE).round().astype(np.uint8)
    if mode == "L":
        probe = Image.fromarray(levels[None])
    else:
        grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        probe = Image.fromarray(np.ascontiguousarray(grid))
    converted = ImageCms.applyTransform(probe, convert)
    assert converted is not None
    before = np.asarray(probe.convert("RGB"), int)
    return bool(np.abs(np.asarray(converted, int) - before).max() <= SAME)
