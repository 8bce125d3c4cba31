"""`animate`: a clip in, a video out; a stand-in flow, random expressions, a fake detector."""

import csv
import dataclasses
import functools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_jax.io.errors import InputError
from glow_jax.io.video_reader import frames_of, read_clip
from tests.support.expressions import SIDE, face, painting_models, portraits, random_expressions
from tests.support.photographs import wall
from tests.support.videos import write_video
from transfer.codec import to_bytes
from transfer.expression.absolute import Population
from transfer.expression.model import MAX_ACTIVATION
from transfer.expression.paint import with_expression
from transfer.photos.align import Limits
from transfer.photos.aligned_faces import Photographs
from transfer.video import animate as animation
from transfer.video import making, reading
from transfer.video.animate import animate
from transfer.video.request import AnimateRequest
from transfer.video.timeline import chunks

N = 11
BOX = 60  # pixels: side of the fake face
GREEN = np.array((0, 255, 0))
ANY = Photographs(limits=Limits(side_px=8.0, sharpness=0.0, yaw_deg=180.0, pitch_deg=180.0))
# Expressions strong enough to be seen, of a random regressor.
MODEL = dataclasses.replace(random_expressions(), slope=np.full(3, 4.0, np.float32))


class Found:
    def __init__(self, left: float, top: float):
        self.box = (left, top, left + BOX, top + BOX)
        self.landmarks = face().astype(np.float64) * BOX + (left, top)


def detector(picture: np.ndarray) -> list[Found]:
    """A face at each green pixel, its upper left corner."""
    rows, columns = np.nonzero((picture == GREEN).all(-1))
    return [Found(float(x), float(y)) for x, y in zip(columns, rows, strict=True)]


def frame(number: int, faces: tuple[tuple[int, int], ...]) -> np.ndarray:
    """uint8 (120, 200, 3): a wall, and pictures with a green pixel at their upper left."""
    pixels = wall(200, 120)
    for i, (x, y) in enumerate(faces):
        part = portraits(N, seed=i)[number]
        pixels[y : y + BOX, x : x + BOX] = part[:BOX, :BOX]
        pixels[y, x] = GREEN
    return pixels


def folder_of(path: Path, frames: list[np.ndarray]) -> Path:
    path.mkdir()
    for number, pixels in enumerate(frames):
        Image.fromarray(pixels).save(path / f"{number}.png")
    return path


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    made = painting_models(MODEL)
    monkeypatch.setattr(
        animation, "load_models", lambda *_, **how: dataclasses.replace(made, **how)
    )
    monkeypatch.setattr(reading, "CHUNK", 4)
    monkeypatch.setattr(making, "chunks", functools.partial(chunks, size=4))


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A face that moves to the right, is gone in frames 0, 5 and 6; a second one stands still."""
    places = [((10 + 2 * i, 20), (130, 50)) for i in range(N)]
    gone = [((130, 50),) if i in (0, 5, 6) else place for i, place in enumerate(places)]
    gone[0] = ()
    return folder_of(tmp_path / "driver", [frame(i, place) for i, place in enumerate(gone)])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """97 pixels high and 141 wide."""
    path = tmp_path / "photo.png"
    Image.fromarray(frame(0, ((30, 12),))[:97, :141]).save(path)
    return path


def request(driver: Path, photo: Path, out: Path, **more: Any) -> AnimateRequest:
    settings = {"photographs": dataclasses.replace(ANY, which=1), "batch_size": 3, "method": "warp"}
    settings |= more
    return AnimateRequest(driver, photo, out, **settings)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pixels_of(path: Path) -> np.ndarray:
    return np.stack([frame.pixels for frame in frames_of(read_clip(path))])


def test_frames_hold_where_the_followed_face_is_gone(
    tmp_path: Path, driver: Path, photo: Path
) -> None:
    out = tmp_path / "out.mp4"
    done = animate(request(driver, photo, out, smooth_s=0.0), face_detector=detector)
    assert done.held == (
        (0, 0, "no face found"),
        (5, 6, "the face that was followed is gone"),
    )
    assert done.frames == N and done.delay_frames == 0 and not done.variable_rate
    rows = rows_of(done.table)
    assert [row["face"] for row in rows].count("held") == 3
    aus = list(MODEL.aus)
    values = [[float(row[au]) for au in aus] for row in rows]
    assert values[0] == [0.0] * 3 and values[5] == values[6] == values[4] != values[7]
    assert not (tmp_path / "out.mp4.work").exists()


def test_frames_hold_where_a_file_cannot_be_used(tmp_path: Path, driver: Path, photo: Path) -> None:
    """One that is damaged, one of another size, and a broken link: each ended the run."""
    (driver / "2.png").write_text("x")
    Image.fromarray(wall(64, 32)).save(driver / "8.png")
    (driver / "9.png").unlink()
    (driver / "9.png").symlink_to("nowhere.png")
    done = animate(request(driver, photo, tmp_path / "out.mp4"), face_detector=detector)
    held = {first: (last, why) for first, last, why in done.held}
    assert held.keys() == {0, 2, 5, 8} and held[8][0] == 9 and done.frames == N
    assert held[2][1].startswith("2.png: not an image we can read")
    assert held[8][1] == "8.png: is 64 wide and 32 high, but the first frame 200 and 120"
    rows = rows_of(done.table)
    assert rows[9]["reason"] == "9.png: cannot be read (No such file or directory)"


@pytest.mark.parametrize(("photographs", "method"), [(ANY, "glow"), (None, "warp")])
def test_the_method_is_chosen_as_for_pictures(
    tmp_path: Path, photo: Path, photographs: Photographs | None, method: str
) -> None:
    clip = folder_of(tmp_path / "clip", [portraits(N)[i] for i in range(2)])
    Image.fromarray(portraits(1)[0]).save(photo)
    how: dict[str, Any] = {"photographs": photographs, "method": None}
    wanted = request(clip, photo, tmp_path / "x.mp4", **how)
    finder = lambda picture: [Found(0.0, 0.0)]  # noqa: E731
    assert animate(wanted, dry_run=True, face_detector=finder).method == method


def test_a_frame_is_made_as_a_picture_is(tmp_path: Path, driver: Path, photo: Path) -> None:
    out = tmp_path / "out.mp4"
    done = animate(request(driver, photo, out, alpha=0.8), face_detector=detector)
    activations = [[float(row[au]) for au in MODEL.aus] for row in rows_of(done.table)]
    assert np.abs(activations).max() > 0.3
    target = animation._target_of(photo, dataclasses.replace(ANY, size=SIDE), detector, SIDE)
    wanted = to_bytes(
        with_expression(
            MODEL, np.repeat(target.face, N, 0), 0.8 * np.array(activations, np.float32)
        )
    )
    found = pixels_of(out)
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 6  # of the encoder
    assert np.abs(found[4].astype(int) - found[9]).mean() > 1.5


@pytest.mark.parametrize("method", ["warp", "glow"])
def test_pasted_into_the_photograph_with_a_mark(
    tmp_path: Path, driver: Path, photo: Path, method: str
) -> None:
    out = tmp_path / "out.mp4"
    how: dict[str, Any] = {"paste_back": True, "mark": "AI-edited", "method": method}
    done = animate(request(driver, photo, out, **how), face_detector=detector)
    assert (done.width, done.height) == (142, 98)
    found, before = pixels_of(out), np.asarray(Image.open(photo))
    difference = np.abs(found[9, :97, :141].astype(int) - before)
    assert difference[10:70, 30:90].mean() > 1.5  # the face
    assert difference[:60, 110:].mean() < 3  # the wall, but for the encoder
    assert difference[84:, :40].mean() > 8  # the mark
    data = out.read_bytes()
    assert b"compositeWithTrainedAlgorithmicMedia" in data and b'"source_neutral": "auto"' in data


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, driver: Path, photo: Path
) -> None:
    whole, resumed = tmp_path / "whole.mp4", tmp_path / "resumed.mp4"
    animate(request(driver, photo, whole, method="glow"), face_detector=detector)
    stages: list[tuple[str, int]] = []

    def stopped(stage: str, n: int, total: int) -> None:
        stages.append((stage, n))
        if (stage, n) == stops[0]:
            del stops[0]
            raise KeyboardInterrupt

    stops = [("read", 6), ("make", 6), ("", 0)]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            animate(
                request(driver, photo, resumed, method="glow"),
                face_detector=detector,
                progress=stopped,
            )
        assert not resumed.exists() and (tmp_path / "resumed.mp4.work").is_dir()
    with pytest.raises(InputError, match=r"is of another request \(other: alpha\); remove it"):
        animate(request(driver, photo, resumed, method="glow", alpha=0.5), face_detector=detector)
    stages.clear()
    animate(
        request(driver, photo, resumed, method="glow"), face_detector=detector, progress=stopped
    )
    assert ("read", 3) not in stages and ("make", 3) not in stages and ("make", 6) in stages
    assert resumed.read_bytes() == whole.read_bytes()
    assert resumed.with_suffix(".csv").read_bytes() == whole.with_suffix(".csv").read_bytes()
    with pytest.raises(InputError, match=r"whole\.mp4: exists; name another file"):
        animate(request(driver, photo, whole), face_detector=detector)


def test_times_and_sound_of_a_video(tmp_path: Path, photo: Path) -> None:
    frames = [portraits(N)[i] for i in range(N)]
    at = [0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12]
    clip = write_video(tmp_path / "clip.mkv", frames, at=at, sound="pcm_s16le")
    Image.fromarray(portraits(1)[0]).save(photo)
    out = tmp_path / "out.mp4"
    done = animate(AnimateRequest(clip, photo, out, photographs=None, batch_size=3))
    made = read_clip(out)
    assert (made.sound, made.declared, done.variable_rate) == ("aac", N, True)
    times = [frame.time for frame in frames_of(made)]
    assert [round(float(time or 0) * 25, 1) for time in times] == at
    bad = tmp_path / "bad.png"
    Image.fromarray(wall(32, 32)).save(bad)
    with pytest.raises(InputError, match=r"bad\.png: the image is 32 wide and 32 high, but 64"):
        animate(AnimateRequest(clip, bad, tmp_path / "x.mp4", photographs=None))


def test_the_neutral_frame_that_is_named_reads_as_zero(
    tmp_path: Path, driver: Path, photo: Path
) -> None:
    how: dict[str, Any] = {"smooth_s": 0.0, "rate": Fraction(10)}
    values = {}
    for name in ("3", "7"):
        wanted = request(driver, photo, tmp_path / f"{name}.mp4", source_neutral=name, **how)
        done = animate(wanted, face_detector=detector)
        assert done.neutral == ((int(name), int(name)),)
        assert (done.rate, done.seconds) == (pytest.approx(10), pytest.approx(N / 10))
        rows = rows_of(done.table)
        assert [row["frame"] for row in rows if row["neutral"] == "1"] == [name]
        values[name] = np.array([[float(row[au]) for au in MODEL.aus] for row in rows])
        assert not values[name][int(name)].any() and values[name].any()
    # Each is the difference of two readings: where nothing is clipped, one is the other, shifted.
    inside = np.abs(values["3"]).max(1) + np.abs(values["7"]).max(1) < MAX_ACTIVATION
    assert inside.any()
    assert np.allclose(values["3"][7], -values["7"][3], atol=2e-4)
    absolute = request(driver, photo, tmp_path / "x.mp4", source_neutral="absolute", **how)
    with pytest.raises(InputError, match="without a neutral picture"):
        animate(absolute, face_detector=detector)


def test_absolute_readings_are_against_the_population() -> None:
    zeros = np.zeros(3, np.float32)
    population = Population(np.array([0.1, 0.2, 0.3], np.float32), zeros + 2, zeros, zeros)
    model = dataclasses.replace(MODEL, population=population)
    raw = np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.3]], np.float32)
    known, nothing, marks = np.ones(2, bool), np.zeros((2, 0)), np.zeros((2, 68, 2), np.float32)
    readings = reading.Readings(raw, marks, known, nothing, nothing, nothing, nothing)
    found = animation.activations_of(model, readings, ~known, np.arange(2.0), 0.0)
    np.testing.assert_allclose(found, [[0, 0, 0], [0.2, -0.2, 0]], atol=1e-6)


def test_landmarks_of_frames_correct_their_activations() -> None:
    """Of a model that was adapted to photographs; frames without a face hold the last one."""
    marks = np.stack([face()] * 4).astype(np.float32)
    marks[1:, 57, 1] += 0.02  # the lower lip
    known, nothing = np.array([True, True, False, True]), np.zeros((4, 0))
    raw = np.zeros((4, len(MODEL.aus)), np.float32)
    readings = reading.Readings(raw, marks * known[:, None, None], known, *[nothing] * 4)
    neutral = np.array([True, False, False, False])
    adapted = dataclasses.replace(MODEL, smoothing=np.array(1e-4, np.float32))
    found = animation.activations_of(adapted, readings, neutral, np.arange(4.0), 0.0)
    assert not found[0].any() and np.abs(found[1]).max() > 1e-3
    assert np.array_equal(found[2], found[1]) and np.array_equal(found[3], found[1])
    assert not animation.activations_of(MODEL, readings, neutral, np.arange(4.0), 0.0).any()


def test_a_result_does_not_replace_an_input(tmp_path: Path, photo: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", [portraits(N)[i] for i in range(N)])
    before = clip.read_bytes()
    with pytest.raises(InputError, match=r"clip\.mp4: is an input; name another file"):
        animate(request(clip, photo, clip, overwrite=True), face_detector=detector)
    assert clip.read_bytes() == before


def test_folders_of_others_stay_as_they_are(tmp_path: Path, driver: Path, photo: Path) -> None:
    for name, message in (("out.mp4", "is a folder"), ("out.csv", "is a folder"),
                          ("out.mp4.work", "is not the work folder of a video")):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
        with pytest.raises(InputError, match=rf"{name}: {message}; name another"):
            animate(
                request(driver, photo, tmp_path / "out.mp4", overwrite=True),
                face_detector=detector,
            )
        assert [path.name for path in (tmp_path / name).iterdir()] == ["mine"]
        (tmp_path / name).rename(tmp_path / f"{name}.old")
    (tmp_path / "out.mp4.work").touch()
    with pytest.raises(InputError, match=r"out\.mp4\.work: is not a folder"):
        animate(request(driver, photo, tmp_path / "out.mp4"), face_detector=detector)


def test_no_face_leaves_nothing(tmp_path: Path, photo: Path) -> None:
    clip = folder_of(tmp_path / "wall", [wall(100, 80)] * 3)
    out = tmp_path / "out.mp4"
    line = r"wall: no face can be used in any of 3 frames; the first: no face found"
    with pytest.raises(InputError, match=line):
        animate(request(clip, photo, out), face_detector=detector)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "wall"]
    done = animate(request(clip, photo, out), face_detector=detector, dry_run=True)
    assert done.frames == 3 and done.held == ((0, 0, "no face found"),)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "wall"]


@pytest.mark.parametrize(
    ("photographs", "named", "wanted"),
    [(ANY, None, "photo64"), (None, None, "faces64"), (ANY, "faces64", "faces64")],
)
def test_the_model_is_chosen_as_for_pictures(
    tmp_path: Path,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    photographs: Photographs | None,
    named: str | None,
    wanted: str,
) -> None:
    def loaded(name: str, *_: Any, **__: Any) -> None:
        raise InputError(f"asked for {name}")

    monkeypatch.setattr(animation, "load_models", loaded)
    clip = folder_of(tmp_path / "clip", [portraits(1)[0]])
    how: dict[str, Any] = {"photographs": photographs, "model": named}
    with pytest.raises(InputError, match=f"asked for {wanted}$"):
        animate(request(clip, photo, tmp_path / "x.mp4", **how), face_detector=detector)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "x.avi"}, "`out` is x.avi: use a name that ends in .mp4"),
        ({"smooth_s": -1.0}, "`smooth_s` is -1.0; use 0 to 2 seconds"),
        ({"smooth_s": float("nan")}, "`smooth_s` is nan"),
        ({"method": "paper"}, "`method` is 'paper'; use warp or glow"),
        ({"alpha": float("nan")}, "`alpha` is nan"),
        ({"rate": Fraction(0)}, "`rate` is 0; use a number from 0.001 to 1000"),
        ({"source_neutral": "x"}, "`source_neutral` is x"),
        ({"paste_back": True, "photographs": None}, "`paste_back` needs `photographs`"),
        ({"photographs": Photographs(which="all")}, "face all: one face is followed"),
        ({"mark": "a\nb"}, "`mark` has at most 60 printable characters"),
        ({"batch_size": 0}, "`batch_size` is 0"),
    ],
)
def test_requests_that_mean_nothing(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AnimateRequest(**({"driving": "a", "target": "b", "out": "x.mp4"} | change))
