"""FHOG against a reference that votes pixel by pixel, and what it must not depend on."""

import math

import numpy as np
import pytest

from eval.fhog import fhog
from tests.support.judged import face

TURNS = 18
UNIT = [  # of 0, 20 … 160 degrees, to the four digits that dlib has
    (1.0, 0.0), (0.9397, 0.3420), (0.7660, 0.6428), (0.5, 0.8660), (0.1736, 0.9848),
    (-0.1736, 0.9848), (-0.5, 0.8660), (-0.7660, 0.6428), (-0.9397, 0.3420),
]  # fmt: skip


def votes(image: np.ndarray, cell: int) -> np.ndarray:
    """Histograms of every cell, with a rim of one cell for votes that fall outside."""
    height, width, _ = image.shape
    rows, columns = (math.floor(n / cell + 0.5) for n in (height, width))
    cells = np.zeros((rows + 2, columns + 2, TURNS))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            gradients = [
                (image[y, x + 1, c] - image[y, x - 1, c], image[y + 1, x, c] - image[y - 1, x, c])
                for c in range(3)
            ]
            dx, dy = max(gradients, key=lambda g: g[0] ** 2 + g[1] ** 2)  # the first at a tie
            best, turn = 0.0, 0
            for i, (cosine, sine) in enumerate(UNIT):
                along = np.float32(dx) * np.float32(cosine) + np.float32(dy) * np.float32(sine)
                if along > best:
                    best, turn = along, i
                elif -along > best:
                    best, turn = -along, i + 9
            across, down = (x + 0.5) / cell - 0.5, (y + 0.5) / cell - 0.5
            left, top = math.floor(across), math.floor(down)
            for row, share in ((top, 1 - (down - top)), (top + 1, down - top)):
                for column, part in ((left, 1 - (across - left)), (left + 1, across - left)):
                    if -1 <= row <= rows and -1 <= column <= columns:
                        vote = share * part * math.hypot(dx, dy)
                        cells[row + 1, column + 1, turn] += vote
    return cells[1:-1, 1:-1]


def reference(image: np.ndarray, cell: int) -> np.ndarray:
    """The features of every cell that has neighbours all round."""
    histogram = votes(image.astype(np.float32), cell)
    rows, columns, _ = histogram.shape
    plain = histogram[..., :9] + histogram[..., 9:]
    energy = (plain**2).sum(-1)
    features = np.zeros((rows - 2, columns - 2, 31))
    for y in range(1, rows - 1):
        for x in range(1, columns - 1):
            scales = []
            # The blocks of four that hold this cell; texture comes in the order right, then left.
            for dx in (0, -1):
                for dy in (0, -1):
                    block = energy[y + dy : y + dy + 2, x + dx : x + dx + 2]
                    scales.append(1 / math.sqrt(block.sum() + 1e-4))
            out = features[y - 1, x - 1]
            for scale in scales:
                out[:18] += 0.5 * np.minimum(histogram[y, x] * scale, 0.2)
                out[18:27] += 0.5 * np.minimum(plain[y, x] * scale, 0.2)
            for i, scale in enumerate(scales):
                out[27 + i] = 0.2357 * np.minimum(histogram[y, x] * scale, 0.2).sum()
    return features


@pytest.mark.parametrize("size", [(40, 40), (48, 32), (35, 52), (24, 61)])
@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_the_reference_agrees_on_noise(size: tuple[int, int], kind: str) -> None:
    rng = np.random.default_rng(sum(size))
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    if kind == "float":
        image = rng.normal(0, 100, (*size, 3)).astype(np.float32)
    found = fhog(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(image, 8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", [4, 8])
def test_the_reference_agrees_on_a_face_and_its_black_surround(cell: int) -> None:
    image = face("20_2").pixels[30:78, 40:80].copy()
    image[:13] = 0
    np.testing.assert_allclose(fhog(image, cell), reference(image, cell), atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_has_no_features(value: int) -> None:
    assert not fhog(np.full((48, 40, 3), value, np.uint8)).any()


def test_the_callers_array_is_left_alone_and_may_be_read_only() -> None:
    image = face("20_0").pixels.astype(np.float32)
    image.setflags(write=False)
    before = image.copy()
    fhog(image)
    np.testing.assert_array_equal(image, before)


def test_a_mirrored_image_has_mirrored_features() -> None:
    # Not of whole numbers: at equal gradients the first channel or direction wins, mirrored or not.
    image = np.random.default_rng(0).normal(0, 100, (64, 80, 3)).astype(np.float32)
    signed = [(9 - i) % 18 for i in range(18)]  # 180 degrees less the angle
    plain = [18 + (9 - i) % 9 for i in range(9)]
    order = [*signed, *plain, 29, 30, 27, 28]
    found = fhog(image[:, ::-1])[:, ::-1][..., order]
    np.testing.assert_allclose(found, fhog(image), atol=1e-5)


def test_contrast_and_brightness_do_not_count() -> None:
    image = np.random.default_rng(1).integers(0, 100, (64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(fhog(image * 2 + 31), fhog(image), atol=1e-6)


def test_an_edge_votes_for_its_direction() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    np.testing.assert_array_equal(fhog(image).sum((0, 1))[:18].nonzero()[0], [0])
    np.testing.assert_array_equal(fhog(255 - image).sum((0, 1))[:18].nonzero()[0], [9])
    np.testing.assert_array_equal(fhog(image.swapaxes(0, 1)).sum((0, 1))[18:27].argmax(), 4)
