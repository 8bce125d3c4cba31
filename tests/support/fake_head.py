"""A head that is nobody's: an ellipsoid in FaceKit's clothes, for tests without FaceKit.

Materials, names of shapes, the 68 landmarks and the centimetre frame are FaceKit's; the rest is
as coarse as a renderer allows.
"""

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np

from glow_jax.data.synthetic_faces.facekit import FaceKit
from glow_jax.data.synthetic_faces.people import (
    BLENDSHAPES,
    PictureSpec,
    free_condition,
    picture,
)

MATERIALS = (
    "M_BackHead",
    "M_Face",
    "M_GumsTongue",
    "M_IrisLeft",
    "M_IrisRight",
    "M_ScleraLeft",
    "M_ScleraRight",
    "M_Teeth",
)
SINGLE = ("mouthShrugLower", "mouthPucker", "jawOpen")  # FaceKit's shapes without a side
LOOKS = ("eyeLookUp", "eyeLookDown", "eyeLookIn", "eyeLookOut")
CENTRE, RADII = np.array([0.0, 1.0, 0.0]), np.array([7.6, 11.5, 10.0])
EYE = np.array([3.2, 3.5, 8.0])  # the left one's centre
Quads = list[tuple[int, int, int, int]]

# Where each shape pushes the skin of the person's left side, and which way: centimetres.
PUSHES = {
    "browInnerUp": ((1.2, 5.6), (0, 0.8)),
    "browOuterUp": ((4.6, 5.8), (0, 0.8)),
    "browDown": ((2.4, 5.4), (0, -0.7)),
    "eyeWide": ((3.2, 4.0), (0, 0.3)),
    "cheekSquint": ((3.4, 1.6), (0, 0.5)),
    "eyeSquint": ((3.2, 3.0), (0, 0.3)),
    "noseSneer": ((1.0, 0.4), (0, 0.4)),
    "mouthUpperUp": ((1.0, -2.8), (0, 0.4)),
    "mouthSmile": ((2.5, -3.5), (0.6, 0.7)),
    "mouthDimple": ((2.8, -3.5), (0.4, 0)),
    "mouthFrown": ((2.5, -3.5), (0, -0.7)),
    "mouthShrugLower": ((0.0, -4.6), (0, 0.5)),
    "mouthPucker": ((2.0, -3.5), (-0.8, 0)),
    "mouthStretch": ((2.5, -3.7), (0.8, -0.2)),
    "mouthPress": ((1.0, -3.5), (0, 0.1)),
    "mouthLowerDown": ((1.0, -4.3), (0, -0.5)),
    "jawOpen": ((0.0, -5.5), (0, -1.5)),
    "eyeBlink": ((3.2, 3.8), (0, -0.5)),
}


@functools.cache
def fake_head() -> FaceKit:
    """Some 3,000 vertices; identity modes stretch the head a little."""
    rings = 44
    skin, quads = _sphere(rings, 56)
    skin = skin * RADII + CENTRE
    nose = np.exp(-(((skin[:, :2] - (0, 0.4)) / (1.0, 1.6)) ** 2).sum(1)) * (skin[:, 2] > 0)
    skin[:, 2] += 2.8 * nose
    marks = _nearest(skin, _places())
    points, faces, material = [skin], [np.array(quads)], []
    front = skin[np.array(quads)][..., 2].mean(1) > 3
    material.append(np.where(front, MATERIALS.index("M_Face"), MATERIALS.index("M_BackHead")))
    parts = [
        ("M_IrisLeft", EYE, 1.15),
        ("M_IrisRight", EYE * (-1, 1, 1), 1.15),
        ("M_ScleraLeft", EYE, 1.2),
        ("M_ScleraRight", EYE * (-1, 1, 1), 1.2),
        ("M_Teeth", np.array([0.0, -3.5, 7.0]), 1.0),
        ("M_GumsTongue", np.array([0.0, -3.5, 6.5]), 1.0),
    ]
    for name, centre, radius in parts:
        ball, corners = _sphere(10, 12)
        start = sum(map(len, points))
        points.append(ball * radius + centre)
        faces.append(np.array(corners) + start)
        material.append(np.full(len(corners), MATERIALS.index(name)))
    neutral = np.concatenate(points).astype(np.float32)
    quads_all = np.concatenate(faces).astype(np.int32)
    names, shapes = _expressions(neutral, len(skin))
    return FaceKit(
        neutral=neutral,
        identity=_identity(neutral),
        expression=shapes,
        expression_names=names,
        faces=quads_all,
        material=np.concatenate(material).astype(np.int32),
        material_names=MATERIALS,
        uv=np.zeros((1, 2), np.float32),
        face_uv=np.zeros_like(quads_all),
        landmarks68=marks,
    )


def _sphere(rings: int, columns: int) -> tuple[np.ndarray, Quads]:
    """A unit sphere whose poles point up and down."""
    up = np.linspace(0.01, np.pi - 0.01, rings)[:, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    y = np.cos(up) + 0 * around
    points = np.stack([np.sin(up) * np.sin(around), y, np.sin(up) * np.cos(around)], -1)
    quads = []
    for i, j in itertools.product(range(rings - 1), range(columns)):
        k = (j + 1) % columns
        quads.append(
            (i * columns + j, (i + 1) * columns + j, (i + 1) * columns + k, i * columns + k)
        )
    return points.reshape(-1, 3), quads


def _places() -> np.ndarray:
    """(68, 2): right of the picture (the person's left) and up, centimetres."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 17)
    jaw = np.stack([6.8 * np.sin(t), 3.0 - 10.6 * np.cos(t)], 1)
    brow = np.stack([np.linspace(1.2, 5.2, 5), 5.4 + 0.5 * np.sin(np.linspace(0, np.pi, 5))], 1)
    bridge = np.stack([np.zeros(4), np.linspace(3.2, 0.4, 4)], 1)
    wings = np.stack([np.linspace(-1.2, 1.2, 5), np.full(5, -1.0)], 1)
    eye = np.array([(-1.4, 0), (-0.6, 0.5), (0.6, 0.5), (1.4, 0), (0.6, -0.5), (-0.6, -0.5)])
    a = np.linspace(np.pi, -np.pi, 12, endpoint=False)
    outer = np.stack([2.5 * np.cos(a), -3.5 + 0.95 * np.sin(a)], 1)
    b = np.linspace(np.pi, -np.pi, 8, endpoint=False)
    inner = np.stack([1.8 * np.cos(b), -3.5 + 0.4 * np.sin(b)], 1)
    return np.concatenate(
        [
            jaw,
            brow[::-1] * (-1, 1),
            brow,
            bridge,
            wings,
            np.add(eye, (-3.2, 3.5)),
            np.add(eye, (3.2, 3.5)),
            outer,
            inner,
        ]
    )


def _nearest(skin: np.ndarray, places: np.ndarray) -> np.ndarray:
    """For each place the nearest vertex of the front that no other has, moved to lie there."""
    taken: list[int] = []
    for place in places:
        far = np.linalg.norm(skin[:, :2] - place, axis=1) + 99 * (skin[:, 2] < 0)
        far[taken] = np.inf
        taken.append(int(far.argmin()))
    index = np.array(taken, np.int64)
    skin[index, :2] = places
    inside = 1 - (((places - CENTRE[:2]) / RADII[:2]) ** 2).sum(1)
    depth = RADII[2] * np.sqrt(np.maximum(inside, 0.02))
    skin[index, 2] = depth + 2.8 * np.exp(-(((places - (0, 0.4)) / (1.0, 1.6)) ** 2).sum(1))
    return index


def _identity(neutral: np.ndarray) -> np.ndarray:
    """Smooth modes, small enough for any 100 draws from N(0, 1)."""
    rng = np.random.default_rng(0)
    stretch = 1 + rng.normal(0, 0.006, (100, 1, 3))
    return (neutral[None] * (stretch - 1)).astype(np.float32)


def _expressions(neutral: np.ndarray, n_skin: int) -> tuple[tuple[str, ...], np.ndarray]:
    names: list[str] = []
    shapes: list[np.ndarray] = []
    on_skin = (np.arange(len(neutral)) < n_skin) & (neutral[:, 2] > 3)
    for shape in BLENDSHAPES.values():
        place, push = PUSHES[shape]
        sides = [0] if shape in SINGLE else [1, -1]
        for side in sides:
            offset = np.zeros_like(neutral)
            for one in [1, -1] if side == 0 else [side]:
                away = (neutral[:, :2] - np.array(place) * (one, 1)) / 0.9
                weight = np.exp(-(away**2).sum(1)) * on_skin
                weight = np.where(weight > 0.02, weight, 0)
                offset[:, :2] += weight[:, None] * np.array(push) * (one, 1)
            names.append(shape + {0: "", 1: "_L", -1: "_R"}[side])
            shapes.append(offset)
    for look, side in itertools.product(LOOKS, (1, -1)):
        push = {"Up": (0, 0.3), "Down": (0, -0.3), "In": (-0.3, 0), "Out": (0.3, 0)}[look[7:]]
        ball = np.abs(neutral - EYE * (side, 1, 1)).max(1) < 1.18
        ball &= np.arange(len(neutral)) >= n_skin
        names.append(look + ("_L" if side > 0 else "_R"))
        shapes.append((ball[:, None] * np.array([push[0] * side, push[1], 0])).astype(np.float32))
    return tuple(names), np.stack(shapes).astype(np.float32)


def picture_spec(expression: str = "smile", **changes: Any) -> PictureSpec:
    """A picture of person 1 in some condition of theirs, 64 pixels wide."""
    spec = picture(3, 1, free_condition(3, 1, 4), "a", expression=expression)
    return dataclasses.replace(spec, **changes)
