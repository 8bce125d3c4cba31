"""ICC profiles of three primaries and a gamma, made from the specification (ICC.1:2001-04)."""

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
ADOBE_RGB = np.array(  # its primaries, adapted to D50: columns of XYZ
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def matrix_profile(primaries: np.ndarray, gamma: float, space: bytes = b"RGB ") -> bytes:
    """A display profile: XYZ = primaries @ rgb ** gamma; of grey, its luminance alone."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"made up\0"
    tags = {b"wtpt": _xyz(D50), b"cprt": b"text\0\0\0\0none\0"}
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    if space == b"RGB ":
        for letter, column in zip(b"rgb", primaries.T, strict=True):
            tags[bytes([letter]) + b"XYZ"] = _xyz(column)
            tags[bytes([letter]) + b"TRC"] = curve
    else:
        tags[b"kTRC"] = curve
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, body in tags.items():
        table += tag + struct.pack(">II", at + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    size = at + len(data)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(map(_fixed, D50))
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + data


def to_srgb(rgb: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    """What the numbers of such a profile are in sRGB, 0-255, from the formulas alone."""
    xyz = (rgb / 255) ** gamma @ primaries.T
    linear = np.clip(xyz @ np.linalg.inv(SRGB).T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * curved
