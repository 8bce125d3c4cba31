"""Rendering: where things land in the picture, and what stays when something else changes."""

import dataclasses
import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.support.paths import ROOT

pytest.importorskip("mitsuba")

from glow_jax.data.synthetic_faces import scene
from glow_jax.data.synthetic_faces.appearance import Mesh
from glow_jax.data.synthetic_faces.people import (
    AUS,
    CANONICAL,
    Condition,
    PictureSpec,
    free_condition,
    person,
    picture,
    studio_condition,
)
from glow_jax.data.synthetic_faces.scene import Renderer, face_mask
from tests.support.fake_head import fake_head, picture_spec

IN_ANOTHER_PROCESS = """
import hashlib
from glow_jax.data.synthetic_faces.scene import Renderer
from tests.support.fake_head import fake_head, picture_spec
print(hashlib.sha256(Renderer(fake_head()).render(picture_spec()).image.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(fake_head())


def still(**changes: Any) -> Condition:
    """The studio's condition, changed."""
    return dataclasses.replace(studio_condition(), **changes)


def test_pictures_are_as_promised(renderer: Renderer) -> None:
    made = renderer.render(picture_spec())
    assert made.image.shape == (64, 64, 3) and made.image.dtype == np.uint8
    assert made.mask.shape == (64, 64) and set(np.unique(made.mask)) == {0, 255}
    assert made.landmarks.shape == (68, 2) and np.isfinite(made.landmarks).all()
    assert made.image.std() > 10
    assert renderer.render(picture_spec(size_px=48)).image.shape == (48, 48, 3)


def test_bytes_are_the_same_in_any_renderer_and_process(renderer: Renderer) -> None:
    here = renderer.render(picture_spec())
    np.testing.assert_array_equal(Renderer(fake_head()).render(picture_spec()).image, here.image)
    renderer.render(picture_spec("anger"))  # nothing is remembered
    np.testing.assert_array_equal(renderer.render(picture_spec()).image, here.image)
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.split()[-1] == hashlib.sha256(here.image.tobytes()).hexdigest()


def test_other_light_paths_change_little(renderer: Renderer) -> None:
    one, other = (renderer.render(picture_spec(), noise=n).image.astype(int) for n in (0, 1))
    assert (one != other).any() and np.abs(one - other).mean() < 3


def behind(renderer: Renderer, spec: PictureSpec) -> np.ndarray:
    """(H, W) bool: pixels in which nothing but the backdrop is seen."""
    nothing = np.zeros((spec.size_px, spec.size_px, 4))
    skin = person(spec.seed, spec.identity).skin
    plain = scene._developed(nothing, spec.condition, renderer._background(spec), skin)
    return (renderer.render(spec).image == plain).all(-1)


def test_an_expression_leaves_what_is_behind_the_face(renderer: Renderer) -> None:
    plain, wide = picture_spec("neutral"), picture_spec("surprise")
    one, other = renderer.render(plain), renderer.render(wide)
    both = behind(renderer, plain) & behind(renderer, wide)
    assert both.mean() > 0.2
    np.testing.assert_array_equal(one.image[both], other.image[both])
    inside = (one.mask > 0) & (other.mask > 0)
    change = np.abs(one.image.astype(int) - other.image.astype(int)).mean(-1)
    assert change[inside].mean() > 3 * change[~(inside | both)].mean()
    moved = np.linalg.norm(one.landmarks - other.landmarks, axis=1)
    assert moved.max() > 1 and moved[27:31].max() < 0.2  # the nose's bridge stays


def test_another_background_leaves_the_face(renderer: Renderer) -> None:
    here = picture_spec()
    there = picture_spec(condition=dataclasses.replace(here.condition, background=5))
    one, other = renderer.render(here), renderer.render(there)
    inside = face_mask(one.landmarks * 0.9 + one.landmarks.mean(0) * 0.1, 64) > 0
    change = np.abs(one.image[inside].astype(int) - other.image[inside].astype(int))
    assert change.max() <= 1  # a filter's weights sum to 1 but for rounding
    assert (one.image[0] != other.image[0]).any()


def test_light_and_exposure_leave_the_landmarks(renderer: Renderer) -> None:
    here = picture_spec()
    light = {"key": 0.2, "ambient": 0.9, "exposure": 0.3, "key_direction": (0.6, 0.0, 0.8)}
    other = renderer.render(picture_spec(condition=dataclasses.replace(here.condition, **light)))
    made = renderer.render(here)
    np.testing.assert_array_equal(made.landmarks, other.landmarks)
    np.testing.assert_array_equal(made.mask, other.mask)
    assert np.abs(made.image.astype(int) - other.image.astype(int)).mean() > 5


def test_light_from_the_right_lights_the_right(renderer: Renderer) -> None:
    def sides(x: float) -> float:
        condition = still(key_direction=(x, 0.0, 0.6), ambient=0.1, key=2.0)
        image = (
            renderer.render(picture_spec("neutral", condition=condition)).image[28:44].astype(float)
        )
        return image[:, 34:44].mean() - image[:, 20:30].mean()

    assert sides(0.8) > 15 and sides(-0.8) < -15


@pytest.mark.parametrize("landmark", [30, 36, 54])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_landmarks_are_where_their_points_are_seen(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch, number: int, landmark: int
) -> None:
    """A bright speck in the place of a landmark's vertex is drawn at its pixel."""
    spec = picture_spec("bigsmile", condition=free_condition(8, 2, number), crop="own")
    corners = np.array([(1, 1, 0), (-1, 1, 0), (-1, -1, 0), (1, -1, 0)]) * 0.3

    def speck(head: Any, who: Any, points: np.ndarray) -> list[Mesh]:
        place = points[head.kit.landmarks68[landmark]] + corners
        triangles = np.array([(0, 1, 2), (0, 2, 3)])
        return [Mesh(place, triangles, np.full((4, 3), 0.9), 0.5, 0.0)]

    monkeypatch.setattr(scene, "dress", speck)
    made = renderer.render(spec)
    monkeypatch.setattr(scene, "_sky", lambda condition: np.full((16, 32, 3), 1e-6, np.float32))
    dark = dataclasses.replace(spec.condition, key=1e-6)
    unlit = renderer.render(dataclasses.replace(spec, condition=dark))
    weight = np.abs(made.image.astype(float) - unlit.image.astype(float)).sum(-1)
    y, x = np.mgrid[:64, :64] + 0.5
    seen = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(seen, made.landmarks[landmark], atol=0.35)


def eyes_and_mouth(marks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eyes' middle, the vector between the eyes, and from their middle to the mouth's."""
    one, other = marks[36:42].mean(0), marks[42:48].mean(0)
    middle = (one + other) / 2
    return middle, other - one, (marks[48] + marks[54]) / 2 - middle


@pytest.mark.parametrize("number", range(5))
def test_the_crop_is_celebahqs(number: int) -> None:
    """Karras et al.: side max(4 |e|, 3.6 |m|), centre eyes + 0.1 m, x axis e - rotated(m)."""
    condition = dataclasses.replace(free_condition(2, 5, number), jitter=(0.0,) * 4)
    kit = fake_head()
    points = scene._placed(kit.neutral[kit.landmarks68], scene._rotation(condition.pose_deg))
    points[36:48, 1] += number - 2  # other proportions, so that either side of max() is met
    marks = scene._camera(points, condition).project(points)
    # Means in the picture, as the crop takes them of the projected landmarks.
    middle, apart, down = eyes_and_mouth(marks)
    assert max(4 * np.hypot(*apart), 3.6 * np.hypot(*down)) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(middle + 0.1 * down, 0.5, atol=1e-9)
    axis = apart + np.array([down[1], -down[0]])  # with y down
    assert axis[1] == pytest.approx(0, abs=1e-9) and axis[0] > 0


def test_a_studio_face_is_centred_and_upright(renderer: Renderer) -> None:
    marks = renderer.render(picture_spec("neutral", condition=still())).landmarks / 64
    middle, apart, down = eyes_and_mouth(marks)
    assert middle[0] == pytest.approx(0.5, abs=0.01) and apart[1] == pytest.approx(0, abs=0.01)
    assert 0.4 < middle[1] < 0.5 and down[1] > 0.2
    assert marks[36, 0] < marks[45, 0]  # the person's right eye is on the left


@pytest.mark.parametrize(
    "jitter", [(0.05, 0.0, 0.0, 0.0), (0.0, 0.05, 0.0, 0.0), (0, 0, 0.1, 0), (0, 0, 0, 4.0)]
)
def test_jitter_moves_the_crop_as_said(jitter: tuple[float, ...]) -> None:
    kit = fake_head()
    points = kit.neutral[kit.landmarks68].astype(float)
    right, up, scale, roll = (float(v) for v in jitter)
    before = scene._camera(points, still()).project(points) - 0.5
    after = scene._camera(points, still(jitter=(right, up, scale, roll))).project(points) - 0.5
    c, s = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))
    turned = before @ np.array([[c, s], [-s, c]])  # the picture's content, clockwise
    np.testing.assert_allclose(after, turned / np.exp(scale) - (right, -up), atol=1e-7)


def test_a_neutral_crop_does_not_move_with_the_mouth(renderer: Renderer) -> None:
    neutral = renderer.render(picture_spec("neutral", crop="neutral")).landmarks
    held = renderer.render(picture_spec("bigsmile", crop="neutral")).landmarks
    own = renderer.render(picture_spec("bigsmile", crop="own")).landmarks
    np.testing.assert_allclose(neutral[27:31], held[27:31], atol=0.2)
    assert np.abs(own[27:31] - held[27:31]).max() > 0.2


@pytest.mark.parametrize("expression", ["neutral", "surprise"])
def test_the_mask_covers_the_landmarks(renderer: Renderer, expression: str) -> None:
    made = renderer.render(picture_spec(expression))
    columns, rows = np.floor(made.landmarks).astype(int).T
    assert (made.mask[rows, columns][17:] > 0).all()
    near = [
        made.mask[y - 1 : y + 2, x - 1 : x + 2].max() for x, y in zip(columns, rows, strict=True)
    ]
    assert min(near) == 255
    assert 0.1 < (made.mask > 0).mean() < 0.5


def test_blendshapes_follow_units_asymmetry_and_gaze(renderer: Renderer) -> None:
    names = renderer.head.kit.expression_names
    weak = tuple(0.25 if au == "AU12" else -0.25 if au == "AU6" else 0.0 for au in AUS)
    spec = picture_spec(aus={"AU12": 0.8, "AU6": 0.4, "AU26": 0.5}, asymmetry=weak)
    spec = dataclasses.replace(spec, condition=still(gaze=(0.5, -0.3)))
    blend = dict(zip(names, renderer._blend(spec), strict=True))
    wanted = {
        "mouthSmile_L": 0.6,
        "mouthSmile_R": 0.8,
        "cheekSquint_L": 0.4,
        "cheekSquint_R": 0.3,
        "jawOpen": 0.5,
        "eyeLookOut_L": 0.5,
        "eyeLookIn_R": 0.5,
        "eyeLookDown_L": 0.3,
        "eyeLookDown_R": 0.3,
    }
    assert {name: v for name, v in blend.items() if v} == pytest.approx(wanted)


def test_eyes_look_where_the_gaze_says(renderer: Renderer) -> None:
    head = renderer.head

    def pupil(gaze: tuple[float, float]) -> np.ndarray:
        spec = picture_spec("neutral", condition=still(gaze=gaze))
        points = head.geometry(np.zeros(100), renderer._blend(spec))
        return points[head._vertices("M_IrisLeft", "M_IrisRight")].mean(0)

    ahead = pupil((0.0, 0.0))
    assert pupil((0.7, 0.0))[0] > ahead[0] + 0.05 > ahead[0] - 0.05 > pupil((-0.7, 0.0))[0]
    assert pupil((0.0, 0.7))[1] > ahead[1] + 0.05 > ahead[1] - 0.05 > pupil((0.0, -0.7))[1]


def test_everybody_can_be_rendered(renderer: Renderer) -> None:
    """Bald, with glasses, with long hair, bearded: no mesh is empty or not finite."""
    seen: set[str] = set()
    for identity in range(40):
        who = person(0, identity)
        kinds = {who.hair, *(["glasses"] if who.glasses else [])}
        if kinds <= seen:
            continue
        seen |= kinds
        spec = picture(0, identity, free_condition(0, identity, 0), "a", size_px=16)
        made = renderer.render(spec)
        assert made.image.std() > 3
    assert seen == {"bald", "short", "fringe", "long", "glasses"}
    assert set(CANONICAL) >= {"smile", "blink"}
