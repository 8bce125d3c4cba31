"""Method "glow": the source's own mouth between the target's lips, in a light the flow chooses."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import LOWER_EDGES
from glow_jax.io.output_schema import NOTHING
from tests.support.expressions import SIDE, face, painting_models, portraits, random_expressions
from tests.support.linear import linear_codec
from transfer.expression.estimate import Estimate, noise_floor
from transfer.expression.mean_shape import mouth_mask_of
from transfer.expression.model import ExpressionModel, apply_edit
from transfer.expression.mouth import source_mouth, with_source_mouth
from transfer.expression.movement import as_strong
from transfer.expression.openings import newly_open
from transfer.expression.paint import landmarks_of
from transfer.methods.base import Models, Photograph, Rows
from transfer.methods.glow import (
    Glow,
    Light,
    PreparedMouths,
    edit_with_mouth,
    light_of,
    lit,
    paste_side,
    with_mouth,
)
from transfer.methods.warp import Warp
from transfer.photos.align import Aligned
from transfer.photos.pose import pose_of

JAW = 2  # of `UNITS`: AU26
SKIN = np.array([122, 120, 118], np.uint8)  # not quite grey: grey pictures get no colour
RED, BLUE = np.array([200, 20, 20]), np.array([20, 20, 200])


def opening_model(gap: float = 0.3) -> ExpressionModel:
    """Random expressions, of which AU26 opens shut lips by `gap` distances between the eyes."""
    displacements = np.zeros((3, 68, 2), np.float32)
    displacements[JAW, [*LOWER_EDGES[4:], 56, 57, 58], 1] = gap
    displacements[0, 17:27, 1] = -0.1
    shape = face()
    shape[[*LOWER_EDGES[4:], 56, 57, 58], 1] += gap * (shape[45, 0] - shape[36, 0])
    mask = mouth_mask_of(shape, SIDE // 2)
    return random_expressions(displacements=displacements, mean_shape=shape, mouth_mask=mask)


def activations(*jaws: float) -> np.ndarray:
    found = np.zeros((len(jaws), 3), np.float32)
    found[:, JAW] = jaws
    return found


def open_mouthed(colour: np.ndarray, side: int = SIDE) -> np.ndarray:
    """uint8 (side, side, 3): a grey picture with a patch of a colour around the lips."""
    picture = np.full((side, side, 3), 120, np.uint8)
    low, high = (face()[48:68].min(0) * side).astype(int), (face()[48:68].max(0) * side).astype(int)
    more = side // 24
    picture[low[1] - more : high[1] + more, low[0] - more : high[0] + more] = colour
    return picture


def farthest_of_nearest(picture: np.ndarray, colour: np.ndarray) -> float:
    """Largest channel's difference from a colour, of the pixel that is nearest to it."""
    return float(np.abs(picture - colour).max(-1).min())


def prepared_rows(n: int = 3) -> PreparedMouths:
    jaws = activations(*np.linspace(0.5, 1, n))
    shown = np.stack([open_mouthed(RED)] * n)
    pictures, own = portraits(n, seed=3), np.zeros_like(jaws)
    marks = (landmarks_of(opening_model(), some) for some in (pictures, shown))
    return PreparedMouths(pictures, next(marks), jaws, own, [""] * n, shown, next(marks))


class Portraits:
    """Two people with a picture each: 0 shows the expression, 1 is edited."""

    def __init__(self, shown: np.ndarray, edited: np.ndarray):
        self._shots = shown, edited

    def usable(self, person: int) -> list[int]:
        return [person]

    def pixels(self, pictures: Sequence[int]) -> np.ndarray:
        step = len(self._shots[0]) // SIDE
        return np.stack([self._shots[i][::step, ::step] for i in pictures])

    def detailed(self, pictures: Sequence[int]) -> np.ndarray:
        return self.pixels(pictures)

    def photograph(self, picture: int) -> Photograph:
        pixels = self._shots[picture]
        whole = np.array([[1 / len(pixels), 0, 0], [0, 1 / len(pixels), 0]])
        marks = face().astype(float) * len(pixels)
        small = self.pixels([picture])[0]
        aligned = Aligned(small, whole, marks, (0.0, 0.0, 1.0, 1.0), 1, 1, pose_of(marks), 1.0, 0.0)
        return Photograph(picture, pixels, aligned)


@pytest.fixture(autouse=True, scope="module")
def source_mouth_is_open() -> Iterator[None]:
    """Where the plain face's lips part further, they show the source's mouth alone, untinted.

    The function is compiled anew: other tests neither gave nor get its programs.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transfer.expression.mouth.share", parted)
        patch.setattr("transfer.expression.mouth.tint", lambda one, other: jnp.ones_like(one))
        for name, function in (
            ("_source_mouth", source_mouth),
            ("_with_source_mouth", with_source_mouth),
        ):
            compiled = jax.jit(lambda *a, function=function: function(*a))
            patch.setattr(f"transfer.expression.paint.{name}", compiled)
        yield


def parted(before: Any, after: Any, shown: Any) -> Any:
    return (newly_open(before, after - before) > 0).astype(jnp.float32)


NOBODY = Portraits(np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE, 3), np.uint8))


def glow() -> Glow:
    return Glow(painting_models(opening_model()), NOBODY)


def test_at_alpha_0_the_picture_is_unchanged_to_the_bit() -> None:
    prepared = prepared_rows()
    found = glow().edit(prepared, np.zeros(3, np.float32))
    np.testing.assert_array_equal(found.values, prepared.pictures + np.float32(0.5))
    assert not found.lost.any() and (found.kept == 1).all()


def test_what_is_below_the_noise_before_it_is_multiplied_is_no_expression() -> None:
    """An adapted model's activations are multiplied; the floor is of those that were read."""
    model = dataclasses.replace(opening_model(), smoothing=np.array(1e-4, np.float32))
    method = Glow(painting_models(model), NOBODY)
    floor = noise_floor(model, absolute=False)
    rows = Rows([0], [0], [1])
    for share, wanted in [(0.9, NOTHING), (1.1, "")]:
        found = Estimate((share * floor).astype(np.float32), False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(method._people, "expression", lambda *_, found=found: found)
            patch.setattr(method._people, "most_neutral", lambda _: 1)
            prepared = method.prepare(rows)
        assert method.notes(prepared) == [wanted]
        np.testing.assert_array_equal(prepared.activations[0], as_strong(model, found.activations))


def test_how_mouths_are_lit_determines_outputs_too() -> None:
    models = painting_models(opening_model())
    before = Glow.recipe(models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transfer.methods.glow.MOUTHS", "another")
        assert Glow.recipe(models) != before


def test_a_grey_picture_stays_grey() -> None:
    """The mouths that are shown are red; the other picture of the batch keeps its colours."""
    prepared = prepared_rows(2)
    pictures = prepared.pictures.copy()
    pictures[0] = pictures[0, ..., :1]
    alphas = np.ones(2, np.float32)
    made = glow().edit(dataclasses.replace(prepared, pictures=pictures), alphas).values
    one, other = made.max(-1) - made.min(-1)
    assert (made[0] != pictures[0] + np.float32(0.5)).any() and one.max() < 1e-3 < other.max()


def test_a_mouth_that_opens_shows_the_sources() -> None:
    prepared = prepared_rows(1)
    alphas = np.ones(1, np.float32)
    painted = glow().edit(prepared, alphas).values[0]
    plain = Warp(painting_models(opening_model()), NOBODY).edit(prepared, alphas).values[0]
    marks = face() * SIDE
    row, _ = np.nonzero(np.abs(painted - plain).max(-1) > 1)
    assert len(row) > 10 and row.min() > marks[:48, 1].mean()
    assert farthest_of_nearest(painted, RED) < 12 < 30 < farthest_of_nearest(plain, RED)


@pytest.mark.parametrize("alpha", [-0.5, 0.5, 1.0, 1.5])
def test_outputs_are_finite_and_those_of_a_batch_are_those_of_its_rows(alpha: float) -> None:
    method, prepared, alphas = glow(), prepared_rows(), np.full(3, alpha, np.float32)
    together = method.edit(prepared, alphas).values
    assert np.isfinite(together).all() and together.dtype == np.float32
    np.testing.assert_array_equal(together, method.edit(prepared, alphas).values)
    fields = {k: v[1:2] for k, v in vars(prepared).items()}
    alone = method.edit(PreparedMouths(**fields), alphas[:1]).values
    np.testing.assert_allclose(together[1:2], alone, atol=0.2)  # grey levels


def test_a_neutralised_target_at_alpha_0_shows_nothing_of_the_source() -> None:
    prepared = dataclasses.replace(prepared_rows(), own=activations(-0.7, -0.8, -0.9))
    alphas = np.zeros(3, np.float32)
    plain = Warp(painting_models(opening_model()), NOBODY).edit(prepared, alphas)
    np.testing.assert_array_equal(glow().edit(prepared, alphas).values, plain.values)


def preferring(grey: float) -> Models:
    """A flow that finds pictures likely whose mean is near `grey`."""
    return painting_models(
        opening_model(),
        bits_per_dim=lambda images: (images.mean((1, 2, 3)) - grey) ** 2 / 100,
    )


def mouth_and_base() -> tuple[np.ndarray, np.ndarray]:
    mouth = np.full((2, SIDE, SIDE, 4), 100, np.float32)
    mouth[..., 3] = 1
    return mouth, np.full((2, SIDE, SIDE, 3), 50.5, np.float32)


def test_the_light_is_what_the_flow_finds_likely() -> None:
    mouth, base = mouth_and_base()
    flat = light_of(linear_codec(), base, mouth)
    np.testing.assert_allclose(flat.gain, 1, rtol=1e-5)
    np.testing.assert_allclose(flat.offset, 0, atol=1e-5)
    for grey in (75, 95, 125):
        light = light_of(preferring(grey).codec, base, mouth)
        assert lit(mouth, light).mean() == pytest.approx(grey, abs=6)


def test_the_flow_gets_all_steps_of_a_light_at_once() -> None:
    asked = []

    def preferring_bright(images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return -images.astype(np.float64).mean((1, 2, 3)) / 1000

    codec = linear_codec(bits_per_dim=preferring_bright)
    mouth, base = mouth_and_base()
    lights = [light_of(codec, base, mouth, size) for size in (1, 8)]
    np.testing.assert_array_equal(lights[0].gain, lights[1].gain)
    np.testing.assert_array_equal(lights[0].offset, lights[1].offset)
    steps = 2 * len(base)  # of the gain, then of the offset, three values at once
    assert asked == [3] * steps + [24] * 2


@pytest.mark.parametrize("middle", [(4, 5), (20, 30), (SIDE - 3, SIDE - 2)])
def test_the_flow_sees_the_part_around_the_mouth(middle: tuple[int, int]) -> None:
    """A part that prefers a grey finds it, wherever the mouth is."""
    asked, (row, column) = [], middle
    part, (mouth, base) = (SIDE // 4, SIDE // 4), mouth_and_base()
    mouth[..., 3] = 0
    mouth[:, row - 2 : row + 2, column - 2 : column + 2, 3] = 1

    def bits(parts: np.ndarray) -> np.ndarray:
        asked.append(parts.shape[1:])
        inside = np.sort(parts.reshape(len(parts), -1), 1)[:, -1].astype(float)
        return (inside - 125) ** 2 / 100

    light = light_of(linear_codec(part_size=part, part_bits=bits), base, mouth)
    assert set(asked) == {(*part, 3)}
    assert lit(mouth, light).max() == pytest.approx(125, abs=6)


def test_only_mouths_that_open_are_lit() -> None:
    mouth, base = mouth_and_base()
    mouth[0, ..., 3] = 0
    light = light_of(preferring(125).codec, base, mouth)
    assert (light.gain[0], light.offset[0]) == (1, 0)
    alone = light_of(preferring(125).codec, base[1:], mouth[1:])
    assert light.gain[1] == alone.gain[0] > 1


def test_a_shut_mouth_does_not_ask_the_flow() -> None:
    def never(images: np.ndarray) -> np.ndarray:
        raise AssertionError("the flow was asked")

    mouth, base = mouth_and_base()
    mouth[..., 3] = 0
    light = light_of(linear_codec(bits_per_dim=never), base, mouth)
    np.testing.assert_array_equal(with_mouth(base, mouth, light), base)


def test_a_model_without_a_likelihood_is_refused() -> None:
    codec = linear_codec(bits_per_dim=lambda images: np.full(len(images), np.nan))
    mouth, base = mouth_and_base()
    with pytest.raises(InputError, match="'linear' has no likelihood, .*`method` warp"):
        light_of(codec, base, mouth)


def test_an_edit_of_a_photograph_is_the_edit_of_the_picture() -> None:
    rng = np.random.default_rng(0)
    edit, pixels = rng.uniform(0, 1, (8, 8, 4)), rng.uniform(0, 255, (8, 8, 3))
    mouth = rng.uniform(0, 1, (1, 8, 8, 4)) * (255, 255, 255, 1)
    light = Light(np.array([0.8]), np.array([5.0]))
    painted = edit_with_mouth(edit, lit(mouth, light)[0], mouth[0, ..., 3:])
    single = (jnp.asarray(a[None], jnp.float32) for a in (edit, pixels))
    base = np.asarray(apply_edit(*single))
    wanted = with_mouth(base + 0.5, mouth, light)[0] - 0.5
    got = pixels - painted[..., 3:] * pixels + painted[..., :3]
    np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_a_photograph_gets_the_mouth_of_the_sources_photograph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shots = Portraits(open_mouthed(BLUE, 256), np.full((256, 256, 3), SKIN, np.uint8))
    method = Glow(painting_models(opening_model()), shots)
    monkeypatch.setattr(
        method._people, "expression", lambda *_: Estimate(activations(1.0)[0], False)
    )
    photograph, result = shots.photograph(1), np.zeros((1, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_array_equal(method.paste(0, 0, photograph, 0.0, result), photograph.pixels)
    pasted = method.paste(0, 0, photograph, 1.0, result)
    assert (
        farthest_of_nearest(pasted, BLUE) < 25 < 60 < farthest_of_nearest(photograph.pixels, BLUE)
    )
    assert (pasted[:40] == SKIN).all()


@pytest.mark.parametrize(
    ("side_px", "side"), [(90.0, 512), (256.0, 512), (300.5, 1024), (9e3, 1024)]
)
def test_the_mouths_crop_has_twice_the_photographs_resolution(side_px: float, side: int) -> None:
    assert paste_side(side_px) == side
