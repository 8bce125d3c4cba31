"""Photographs of people who do not exist, of any size, with the truth about where the face is."""

import functools
import json
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.support.paths import HEADS


class Photograph(NamedTuple):
    """uint8 (H, W, 3), and the (68, 2) true landmarks of its face."""

    pixels: np.ndarray
    landmarks: np.ndarray


@functools.cache
def labels() -> dict[str, dict]:
    """What is true of each head, by name; `29_2` is picture 2 of person 29."""
    rows = map(json.loads, (HEADS / "labels.jsonl").read_text().splitlines())
    return {row["file"].removesuffix(".webp"): row for row in rows}


@functools.cache
def head(name: str) -> Image.Image:
    """RGBA, about 200 pixels wide."""
    return Image.open(HEADS / f"{name}.webp").convert("RGBA")


def wall(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A lit, grainy wall without a face."""
    rng = np.random.default_rng(seed)
    grain = rng.integers(-9, 10, (200, 200), np.int16)
    grain = np.tile(grain, (height // 200 + 1, width // 200 + 1))[:height, :width]
    down, across = np.linspace(60, 130, height)[:, None], np.linspace(0, 50, width)[None]
    light = (down + across).astype(np.int16) + grain
    return np.stack([light, light + 8, light - 10], -1).clip(0, 255).astype(np.uint8)


def photograph(
    name: str = "36_1",
    *,
    width: int = 1200,
    height: int = 900,
    scale: float = 1.5,
    turn_deg: float = 0.0,
    at: tuple[float, float] = (0.5, 0.5),
) -> Photograph:
    """A head before a wall.

    Args:
        name: of the head.
        width, height: of the photograph.
        scale: of the head; at 1 its aligned crop is about 240 pixels wide.
        turn_deg: clockwise, in the picture.
        at: where the tip of its nose is, in sides of the photograph.
    """
    pixels = wall(width, height)
    return add(Photograph(pixels, np.empty((68, 2))), name, scale, turn_deg, at)


def add(
    taken: Photograph, name: str, scale: float, turn_deg: float, at: tuple[float, float]
) -> Photograph:
    """Another head in a photograph, before what is there."""
    height, width = taken.pixels.shape[:2]
    marks = np.array(labels()[name]["landmarks"])
    angle = np.deg2rad(turn_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = np.array(at) * (width, height) - turn @ marks[30]
    back = np.linalg.inv(turn)
    start = -back @ shift
    numbers = (*back[0], start[0], *back[1], start[1])
    affine, cubic = Image.Transform.AFFINE, Image.Resampling.BICUBIC
    source = head(name)
    if scale < 1:  # without a filter it would alias
        small = source.resize([round(n * scale) for n in source.size], Image.Resampling.BOX)
        ratio = np.array(source.size) / small.size
        numbers = (
            *(v / ratio[0] for v in numbers[:3]),
            *(v / ratio[1] for v in numbers[3:]),
        )
        source = small
    placed = source.transform((width, height), affine, numbers, cubic)
    whole = Image.fromarray(taken.pixels)
    whole.paste(placed.convert("RGB"), (0, 0), placed.getchannel("A"))
    return Photograph(np.asarray(whole), marks @ turn.T + shift)


class Face(NamedTuple):
    """What a face detector returns: (68, 2) landmarks, and left, top, right, bottom."""

    landmarks: np.ndarray
    box: tuple[float, float, float, float]


def face_of(landmarks: np.ndarray) -> Face:
    """A face of these landmarks, in the box around them."""
    left, top, right, bottom = *landmarks.min(0), *landmarks.max(0)
    return Face(landmarks, (float(left), float(top), float(right), float(bottom)))
