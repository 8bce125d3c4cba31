"""Alignment: CelebA-HQ's square, its pixels, and why a face is not used."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from glow_jax.data.synthetic_faces import scene
from glow_jax.data.synthetic_faces.people import studio_condition
from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import crop_transform
from tests.support import photographs
from tests.support.photographs import Face, face_of
from transfer.photos import align
from transfer.photos.align import Limits, faces_in
from transfer.photos.crop import inverse, side_of, transform_points
from transfer.photos.pose import MEAN_FACE, pose_of


def square(left: float, top: float, side: float) -> np.ndarray:
    """The transform of an upright square."""
    return np.array([[1 / side, 0, -left / side], [0, 1 / side, -top / side]])


def test_the_square_is_that_of_the_renderer() -> None:
    condition = dataclasses.replace(studio_condition(), pose_deg=(14.0, -6.0, 9.0))
    rng = np.random.default_rng(0)
    points = scene._placed(
        MEAN_FACE + rng.normal(0, 0.1, MEAN_FACE.shape), scene._rotation(condition.pose_deg)
    )
    camera = scene._camera(points, condition)
    plane = scene._flat(points, camera.origin) * (1, -1)  # y down
    np.testing.assert_allclose(
        transform_points(plane, crop_transform(plane)), camera.project(points), atol=1e-12
    )


def test_the_square_turns_moves_and_grows_with_the_face() -> None:
    marks = np.array(photographs.labels()["36_1"]["landmarks"])
    angle, scale, shift = 0.4, 3.7, np.array([120.0, -40.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    one = transform_points(marks, crop_transform(marks))
    other = crop_transform(marks @ turn.T + shift)
    np.testing.assert_allclose(transform_points(marks @ turn.T + shift, other), one, atol=1e-12)
    assert side_of(other) == pytest.approx(scale * side_of(crop_transform(marks)))
    np.testing.assert_allclose(
        transform_points(transform_points(marks, other), inverse(other)), marks, atol=1e-9
    )


def test_no_face_has_all_its_points_in_one_place() -> None:
    with pytest.raises(ValueError, match="not those of a face"):
        crop_transform(np.ones((68, 2)))
    with pytest.raises(ValueError, match="on one line"):
        pose_of(np.arange(136, dtype=float).reshape(68, 2))


@pytest.mark.parametrize(
    "pose", [(0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (0.0, 12.0, 0.0), (-15.0, 8.0, 25.0)]
)
def test_the_mean_faces_pose_is_exact(pose: tuple[float, float, float]) -> None:
    points = MEAN_FACE @ scene._rotation(pose)
    np.testing.assert_allclose(pose_of(7 * points[:, :2] * (1, -1) + 3), pose, atol=1e-6)


def test_poses_of_rendered_heads_are_near() -> None:
    rows = photographs.labels().values()
    errors = [np.subtract(pose_of(np.array(r["landmarks"])), r["pose_deg"]) for r in rows]
    assert np.abs(errors).max() < 8
    assert np.abs(errors).mean() < 3


def test_a_square_of_its_own_size_is_cut_out_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    np.testing.assert_array_equal(align.crop(pixels, square(30, 12, 64), 64), pixels[12:76, 30:94])


def test_a_crop_is_in_the_place_that_its_transform_says() -> None:
    down, across = np.mgrid[:600, :800] + 0.5
    slope = np.stack([across * 0.3, down * 0.4, 0 * down], -1).astype(np.uint8)
    marks = np.array(photographs.labels()["36_1"]["landmarks"]) * 1.4 + (300, 60)
    transform = crop_transform(marks)
    for size in (32, 64, 256):
        pixels = align.crop(slope, transform, size).astype(float)
        column, row = np.meshgrid(*(np.arange(size) + 0.5,) * 2)
        places = transform_points(
            np.stack([column.ravel(), row.ravel()], 1) / size, inverse(transform)
        )
        wanted = places.reshape(size, size, 2) * (0.3, 0.4) - 0.5  # astype rounds down
        assert np.abs(pixels[..., :2] - wanted).max() < 1.5
        assert abs((pixels[..., :2] - wanted).mean()) < 0.2


@pytest.mark.parametrize("period", [2.0, 3.3, 7.0, 11.0, 16.0, 25.0])
def test_stripes_finer_than_the_crops_pixels_do_not_alias(period: float) -> None:
    """12 megapixels, 1 pixel of the crop is 31 of the photograph's."""
    across = np.arange(3000)
    stripe = (127.5 + 127.5 * np.sin(2 * np.pi * across / period)).astype(np.uint8)
    pixels = np.broadcast_to(stripe[None, :, None], (3000, 3000, 3))
    angle = 0.3
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / 2000
    transform = np.column_stack([turn, 0.5 - turn @ (1500, 1500)])
    assert align.crop(pixels, transform, 64).std() < 4  # of 127


def test_beyond_the_border_lies_a_reflection() -> None:
    pixels = photographs.wall(300, 300)
    pixels[:, :20] = (200, 40, 40)
    out = align.crop(pixels, square(-40, 100, 100), 100)
    assert (out[10:90, 42:58, 0] > 180).all()  # the photograph's edge
    assert (out[10:90, 25:38, 0] > 170).all()  # and its mirror image
    assert out[10:90, :15, 0].mean() < out[10:90, 25:38, 0].mean() - 40  # which ends
    inside = align.crop(photographs.wall(300, 300), square(100, 100, 100), 100)
    np.testing.assert_array_equal(inside, photographs.wall(300, 300)[100:200, 100:200])


@pytest.mark.parametrize("shape", [(40, 2000), (2000, 40), (30, 30), (1, 60)])
def test_any_photograph_gives_a_square(shape: tuple[int, int]) -> None:
    pixels = photographs.wall(shape[1], shape[0])
    for side in (20.0, 300.0):
        middle = np.array(shape[::-1]) / 2 - side / 2
        out = align.crop(pixels, square(*middle, side), 64)
        assert out.shape == (64, 64, 3) and out.dtype == np.uint8


def test_a_square_outside_the_photograph_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the photograph"):
        align.crop(photographs.wall(100, 100), square(500, 500, 60), 64)


def test_a_head_in_a_photograph_comes_back() -> None:
    """The crop of a turned head in 12 megapixels is that of the same head alone, upright."""
    plain = photographs.photograph("36_1", width=800, height=800, scale=1.0)
    taken = photographs.photograph("36_1", width=4000, height=3000, scale=6.0, turn_deg=14)
    wanted, got = (
        align.crop(p.pixels, crop_transform(p.landmarks), 64).astype(float) for p in (plain, taken)
    )
    inner = slice(14, 54)
    assert np.abs(wanted - got)[inner, inner].mean() < 3


@pytest.mark.slow
def test_sharpness_tells_blurs_of_1_and_of_2_pixels_apart() -> None:
    limit = Limits().sharpness
    for name in photographs.labels():
        taken = photographs.photograph(name, width=900, height=900)
        transform = crop_transform(taken.landmarks)
        pixel = side_of(transform) / 64
        for blur, sharp in ((0.0, True), (1.0, True), (2.0, False), (3.0, False)):
            from scipy.ndimage import gaussian_filter

            blurred = gaussian_filter(taken.pixels, (blur * pixel, blur * pixel, 0))
            value = align.sharpness_of(align.crop(blurred, transform, 64))
            assert (value >= limit) == sharp, (name, blur, value)
    assert align.sharpness_of(np.full((64, 64, 3), 90, np.uint8)) == 0


# -- which face, and why not


def finder(*photos_faces: Face):
    return lambda photograph: list(photos_faces)


@pytest.fixture(scope="module")
def taken() -> photographs.Photograph:
    return photographs.photograph(width=1000, height=800, scale=1.2)


def test_a_good_face(taken: photographs.Photograph) -> None:
    (face,), bad = faces_in(taken.pixels, finder(face_of(taken.landmarks)), 64)
    assert not bad and face.pixels.shape == (64, 64, 3)
    assert (face.number, face.count) == (1, 1) and face.outside == 0
    assert face.side_px == pytest.approx(side_of(crop_transform(taken.landmarks)))
    np.testing.assert_array_equal(face.landmarks, taken.landmarks)
    assert abs(face.pose.yaw - photographs.labels()["36_1"]["pose_deg"][0]) < 6


def test_a_face_in_the_dark_is_refused(taken: photographs.Photograph) -> None:
    dark, detector = taken.pixels // 20, finder(face_of(taken.landmarks))
    good, (why,) = faces_in(dark, detector, 64)
    assert not good and "too dark: mean luma " in why and "of 255; 16 is needed" in why
    assert faces_in(taken.pixels // 4, detector, 64)[0]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(side_px=1000.0), "too small: its crop is 2.. pixels wide; 1000 are needed"),
        (Limits(sharpness=9.0), "too blurred: sharpness .*; 9 is needed at 64 pixels"),
        (Limits(yaw_deg=0.01), "turned too far: yaw .* degrees; at most 0.01"),
        (Limits(pitch_deg=0.01), "turned too far: pitch"),
    ],
)
def test_limits(taken: photographs.Photograph, limits: Limits, said: str) -> None:
    good, (why,) = faces_in(taken.pixels, finder(face_of(taken.landmarks)), 64, limits=limits)
    assert not good
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(why)


def test_a_head_that_is_turned_both_ways_may_be_turned_less_far(
    taken: photographs.Photograph,
) -> None:
    """At four fifths of each limit the face is refused, at two thirds it is not."""
    face = face_of(taken.landmarks)
    pose = faces_in(taken.pixels, finder(face), 64)[0][0].pose
    for share, refused in ((0.8, True), (0.66, False)):
        limits = Limits(yaw_deg=abs(pose.yaw) / share, pitch_deg=abs(pose.pitch) / share)
        _, why = faces_in(taken.pixels, finder(face), 64, limits=limits)
        assert len(why) == refused
    still = Limits(yaw_deg=0.0, pitch_deg=0.0)
    assert "at most 0" in faces_in(taken.pixels, finder(face), 64, limits=still)[1][0]


@pytest.mark.parametrize(
    ("limit", "beyond"),
    [("side_px", 0.01), ("sharpness", 0.001), ("yaw_deg", -0.01), ("pitch_deg", -0.01)],
)
def test_a_number_beyond_its_limit_does_not_read_as_the_limit(
    taken: photographs.Photograph, limit: str, beyond: float
) -> None:
    """A crop that is 63.99 pixels wide is not "64 pixels wide; 64 are needed"."""
    face = face_of(taken.landmarks)
    ((good,), _) = faces_in(taken.pixels, finder(face), 64)
    values = {
        "side_px": good.side_px,
        "sharpness": good.sharpness,
        "yaw_deg": abs(good.pose.yaw),
        "pitch_deg": abs(good.pose.pitch),
    }
    limits = dataclasses.replace(Limits(), **{limit: values[limit] + beyond})
    _, (why,) = faces_in(taken.pixels, finder(face), 64, limits=limits)
    value, accepted = (float(number) for number in re.findall(r"\d+(?:\.\d+)?", why)[:2])
    assert value < accepted if beyond > 0 else value > accepted, why


def test_no_crop_is_enlarged_by_default(taken: photographs.Photograph) -> None:
    good, (why,) = faces_in(taken.pixels, finder(face_of(taken.landmarks)), 512)
    assert not good and "too small" in why and "512 are needed" in why


def test_a_cut_face(taken: photographs.Photograph) -> None:
    chin = int(taken.landmarks[:, 1].max())
    cut = taken.pixels[: chin - 30]
    assert faces_in(cut, finder(face_of(taken.landmarks)), 64)[1] == [
        "the face is cut by the photograph's border"
    ]
    low, high = taken.landmarks.min(0).astype(int), taken.landmarks.max(0).astype(int) + 1
    tight = taken.pixels[low[1] : high[1], low[0] : high[0]]
    (why,) = faces_in(tight, finder(face_of(taken.landmarks - low)), 64)[1]
    assert "too near the photograph's border" in why
    # The crop's own square is no cut.
    transform = crop_transform(taken.landmarks)
    start, stop = (
        transform_points(np.array([[v, v]]), inverse(transform))[0].astype(int) for v in (0.1, 0.9)
    )
    near = taken.pixels[start[1] : stop[1], start[0] : stop[0]]
    assert len(faces_in(near, finder(face_of(taken.landmarks - start)), 64)[0]) == 1


def test_which_face() -> None:
    taken = photographs.photograph(width=1500, height=800, scale=0.8, at=(0.2, 0.5))
    one = face_of(taken.landmarks)
    taken = photographs.add(taken, "29_1", 1.4, 0, (0.75, 0.5))
    other = face_of(taken.landmarks)

    def numbers(which: align.Which) -> list[int]:
        good, bad = faces_in(taken.pixels, finder(other, one), 64, which)
        assert not bad and all(f.count == 2 for f in good)
        return [f.number for f in good]

    assert numbers("largest") == [2]  # numbered from left to right
    assert numbers("all") == [1, 2]
    assert numbers(1) == [1]
    assert faces_in(taken.pixels, finder(one), 64, 3) == ([], ["there is no face 3: 1 found"])
    assert faces_in(taken.pixels, finder(), 64) == ([], ["no face found"])
    good, bad = faces_in(taken.pixels, finder(one, other), 64, "all", Limits(side_px=250.0))
    assert [f.number for f in good] == [2] and bad[0].startswith("face 1: the face is too small")


def test_the_word_for_which() -> None:
    assert [align.parse_which(w) for w in ("largest", "all", "3")] == ["largest", "all", 3]
    for word in ("0", "-1", "left", "", "1.5", "99999"):
        with pytest.raises(InputError, match="use largest, all, or a number"):
            align.parse_which(word)


def test_a_large_photograph_takes_no_more_memory_than_it_must() -> None:
    import tracemalloc

    pixels = photographs.wall(8000, 6000)
    tracemalloc.start()
    align.crop(pixels, square(1000, 500, 5000), 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes  # of 144 MB; Pillow's own are not counted
    assert Image.MAX_IMAGE_PIXELS  # nothing here lifts Pillow's guard
