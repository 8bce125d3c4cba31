"""Colours of pictures brought to sRGB, from an ICC profile or from primaries that a file names.

Source: ICC.1:2022 (the header of a profile); IEC 61966-2-1 (sRGB); ITU-T H.273, tables 2 and 3
(primaries and transfers by number).
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 2**20
SPACES = {"RGB": b"RGB ", "CMYK": b"CMYK", "L": b"GRAY"}  # Pillow's mode -> the profile's
PROBE = 5  # levels a channel that tell whether a profile is sRGB's own
HDR_TRANSFERS = {8: "linear", 16: "PQ", 18: "HLG"}  # which sRGB's curve is not near
# Chromaticities x, y of red, green and blue; their white is D65.
SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
WIDE_PRIMARIES = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
D65 = (0.3127, 0.3290)
BLOCK_ROWS = 256  # converted at once
SAME = 1  # grey levels: what rounding in a conversion from sRGB to sRGB may change


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture whose numbers mean the same colours in sRGB.

    Nothing is changed where there is no profile, where the profile is damaged or is another kind
    of picture's (as viewers do), or where it is sRGB's own.

    Args:
        image: mode RGB, L or CMYK.
        profile: ICC profile of its numbers; empty is none.

    Returns:
        Mode RGB where colours were converted, otherwise `image`.
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


def primaries_to_srgb(image: Image.Image, primaries: int) -> Image.Image:
    """A picture whose numbers mean the same colours in sRGB, with sRGB's curve before and after.

    Args:
        image: of any mode; grey is left as it is.
        primaries: by H.273's number; of those that are not in `WIDE_PRIMARIES`, nothing is changed.

    Returns:
        Mode RGB where colours were converted, otherwise `image`.
    """
    if primaries not in WIDE_PRIMARIES or image.mode != "RGB":
        return image
    to_xyz = _rgb_to_xyz(WIDE_PRIMARIES[primaries])
    matrix = (np.linalg.inv(_rgb_to_xyz(SRGB_PRIMARIES)) @ to_xyz).astype(np.float32)
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    linear = linear.astype(np.float32)
    pixels = np.array(image)
    for start in range(0, len(pixels), BLOCK_ROWS):
        block = pixels[start : start + BLOCK_ROWS]
        light = np.clip(linear[block] @ matrix.T, 0, 1)
        curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        block[:] = np.rint(255 * curved)
    return Image.fromarray(pixels)


def _rgb_to_xyz(primaries: tuple[tuple[float, float], ...]) -> npt.NDArray[np.float64]:
    """(3, 3): linear RGB of these primaries, with white D65, to XYZ."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1, (1 - D65[0] - D65[1]) / D65[1]])
    return columns * np.linalg.solve(columns, white)


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
