"""Videos: frames come back upright and at their times, parts join, hostile files end in a line."""

import itertools
import resource
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_jax.io import video_reader
from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.provenance import Provenance
from glow_jax.io.video_reader import frames_of, read_clip, sha256_of
from glow_jax.io.video_writer import count_frames, even, join, write_part
from tests.support.videos import scene, sound_of, write_sound, write_video

MADE = Provenance("compositeWithTrainedAlgorithmicMedia", "faces64", {"alpha": 1.0})
N = 8


def scenes(n: int = N, height: int = 64, width: int = 96) -> list[np.ndarray]:
    return [scene(i, height, width) for i in range(n)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_every_frame_comes_back_in_order(tmp_path: Path, suffix: str) -> None:
    clip = read_clip(write_video(tmp_path / f"clip{suffix}", scenes()))
    frames = list(frames_of(clip))
    assert (clip.width, clip.height, clip.rate, clip.sound) == (96, 64, 25, "")
    assert len(frames) == N and not any(frame.damaged for frame in frames)
    for number, frame in enumerate(frames):
        assert np.abs(frame.pixels.astype(int) - scene(number)).mean() < 3
    times = [frame.time for frame in frames]
    if suffix != ".avi":
        steps = [b - a for a, b in itertools.pairwise(times) if a is not None and b]
        assert [round(float(step), 3) for step in steps] == [0.04] * (N - 1)


@pytest.mark.parametrize(
    ("rotation_deg", "down", "right"), [(0, 0, 0), (90, 1, 0), (180, 1, 1), (-90, 0, 1)]
)
def test_frames_are_upright(tmp_path: Path, rotation_deg: int, down: int, right: int) -> None:
    """The red corner, at the upper left of the stored frame, is where a player shows it."""
    path = write_video(tmp_path / "clip.mp4", scenes(2), rotation_deg=rotation_deg)
    clip = read_clip(path)
    pixels = next(frames_of(clip)).pixels
    turned = rotation_deg % 180 != 0
    assert pixels.shape == ((96, 64, 3) if turned else (64, 96, 3))
    height, width = pixels.shape[:2]
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 80)
    rows, columns = np.nonzero(red)
    assert (rows.mean() > height / 2, columns.mean() > width / 2) == (down, right)


def test_odd_sides_and_varying_times(tmp_path: Path) -> None:
    at = [0, 1, 3, 4, 8, 9, 10, 15]
    clip = read_clip(write_video(tmp_path / "clip.mp4", scenes(N, 67, 97), at=at))
    frames = list(frames_of(clip))
    assert (clip.width, clip.height) == (97, 67)
    start = frames[0].time
    assert start is not None
    assert [frame.time and frame.time - start for frame in frames] == [
        pytest.approx(Fraction(t, 25), abs=1e-3) for t in at
    ]


def test_a_folder_of_frames(tmp_path: Path) -> None:
    for number in (10, 9, 2):  # in the order of numbers, not of text
        Image.fromarray(scene(number)).save(tmp_path / f"{number}.png")
    clip = read_clip(tmp_path, Fraction(10))
    frames = list(frames_of(clip))
    assert [frame.time for frame in frames] == [0, Fraction(1, 10), Fraction(1, 5)]
    for frame, number in zip(frames, (2, 9, 10), strict=True):
        np.testing.assert_array_equal(frame.pixels, scene(number))
    Image.fromarray(scene(0, 32, 32)).save(tmp_path / "11.png")
    assert sha256_of(read_clip(tmp_path)) != sha256_of(clip)
    (tmp_path / "12.png").write_text("x")
    *sound, small, damaged = frames_of(read_clip(tmp_path))
    assert [frame.damaged for frame in sound] == [False] * 3 and small.damaged and damaged.damaged
    assert small.reason.startswith("11.png: is 32 wide and 32 high, but the first frame 96")
    assert damaged.reason.startswith("12.png: not an image we can read")
    assert small.pixels.shape == damaged.pixels.shape == sound[0].pixels.shape


@pytest.mark.parametrize(
    ("suffix", "codec", "kept"),
    [(".mp4", "aac", "aac"), (".mkv", "pcm_s16le", "aac"), (".mp4", "", "")],
)
def test_parts_join_with_times_and_sound(
    tmp_path: Path, suffix: str, codec: str, kept: str
) -> None:
    source = write_video(tmp_path / f"driver{suffix}", scenes(), sound=codec)
    ticks = np.array([0, 3600, 7200, 14400, 18000, 21600, 30000, 33600])
    durations = np.append(np.diff(ticks), 3600)
    parts = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    assert write_part(parts[0], iter(scenes()[:5]), (64, 96)) == 5
    assert write_part(parts[1], iter(scenes()[5:]), (64, 96)) == 3
    assert [count_frames(part) for part in parts] == [5, 3]
    out = tmp_path / "out.mp4"
    for _ in range(2):  # an older file is replaced
        join(out, parts, ticks, durations, MADE, source if codec else None)
    clip = read_clip(out)
    frames = list(frames_of(clip))
    assert clip.sound == kept and clip.declared == N
    assert [frame.time and round(frame.time * 90_000) for frame in frames] == ticks.tolist()
    for number, frame in enumerate(frames):
        assert np.abs(frame.pixels.astype(int) - scene(number)).mean() < 3
    data = out.read_bytes()
    assert b"compositeWithTrainedAlgorithmicMedia" in data and b'"alpha": 1.0' in data
    assert not list(tmp_path.glob(".*.tmp"))


def test_even_repeats_the_border() -> None:
    pixels = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    found = even(pixels)
    assert found.shape == (4, 6, 3)
    np.testing.assert_array_equal(found[:3, :5], pixels)
    np.testing.assert_array_equal(found[3, :5], pixels[2])
    assert even(found) is found


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mkv", "pcm_s16le")])
def test_the_sound_is_the_drivers_and_in_step(tmp_path: Path, suffix: str, codec: str) -> None:
    """A tone begins with frame 5 of the driver, and of the result."""
    start = 5 / 25
    source = write_video(tmp_path / f"a{suffix}", scenes(25), sound=codec, silent_s=start)
    write_part(tmp_path / "part.mp4", iter(scenes(25)), (64, 96))
    ticks = 3600 * np.arange(25)
    parts, durations = [tmp_path / "part.mp4"], np.full(25, 3600)
    join(tmp_path / "out.mp4", parts, ticks, durations, MADE, source)
    for path in (source, tmp_path / "out.mp4"):
        wave, rate = sound_of(path)
        assert len(wave) / rate == pytest.approx(1, abs=0.1)
        loud = np.flatnonzero(np.abs(wave) > 0.1)
        assert loud[0] / rate == pytest.approx(start, abs=0.03)
        assert np.sqrt(np.mean(wave[loud[0] + 2000 :] ** 2)) == pytest.approx(0.17, abs=0.03)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(4)]
    for name in ("a.mp4", "b.mp4"):
        write_part(tmp_path / name, iter(noise), (64, 96))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_colours_are_kept(tmp_path: Path) -> None:
    """BT.709 is written and declared: a reader gets the colours back."""
    colours = np.array([(230, 20, 20), (20, 200, 30), (30, 40, 220), (200, 190, 20)], np.uint8)
    pixels = np.repeat(np.repeat(colours.reshape(2, 2, 3), 32, 0), 32, 1)
    write_part(tmp_path / "a.mp4", iter([pixels]), (64, 64))
    found = next(frames_of(read_clip(tmp_path / "a.mp4"))).pixels
    centres = found[16::32, 16::32].reshape(4, 3).astype(int)
    assert np.abs(centres - colours).max() <= 4


def test_edges_of_colours_are_kept(tmp_path: Path) -> None:
    """Chroma has half the resolution: it is interpolated, and rounded to the nearest value."""
    rows, columns = np.mgrid[:64, :96]
    inside = np.hypot(rows - 31, columns - 47) < 20  # a lip's red on skin
    pixels = np.where(inside[..., None], (170, 80, 80), (200, 150, 120)).astype(np.uint8)
    write_part(tmp_path / "a.mp4", iter([pixels] * 3), (64, 96))
    found = next(frames_of(read_clip(tmp_path / "a.mp4"))).pixels
    assert np.abs(found.astype(int) - pixels).mean() < 0.8  # 1.8 by FFmpeg's default


def test_damaged_and_hostile_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_video(tmp_path / "whole.mp4", scenes(40)).read_bytes()
    mkv = write_video(tmp_path / "whole.mkv", scenes(40)).read_bytes()
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(whole)
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    cases = {
        "empty.mp4": (b"", "the file is empty"),
        "text.mp4": (b"not a video\n" * 50, "cannot be read as a video"),
        "cut.mp4": (whole[: len(whole) // 2], "cannot be read as a video"),
        "header.mkv": (mkv[:120], "cannot be read as a video|no frame|no video"),
        "list.mp4": (playlist.encode(), "cannot be read as a video"),
        "concat.mp4": (f"ffconcat version 1.0\nfile {secret}\n".encode(), "cannot be read"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=message) as caught:
            list(frames_of(read_clip(tmp_path / name)))
        assert "\n" not in str(caught.value) and name in str(caught.value)
        assert "Errno" not in str(caught.value)
    with pytest.raises(InputError, match=r"sound\.m4a: sound only; a video is needed"):
        read_clip(write_sound(tmp_path / "sound.m4a"))
    with pytest.raises(InputError, match="has a frame rate|frame rate of its own"):
        read_clip(secret, Fraction(10))
    monkeypatch.setattr(video_reader, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(InputError, match="frames of 96 x 64 pixels; at most 1000 accepted"):
        read_clip(secret)
    monkeypatch.undo()
    monkeypatch.setattr(video_reader, "MAX_FRAMES", 39)
    with pytest.raises(InputError, match="more than 39 frames"):
        read_clip(secret)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(30)]
    part = tmp_path / "part.mp4"
    write_part(part, noise, (64, 96))
    ticks, durations = 3600 * np.arange(30), np.full(30, 3600)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(OutputError, match=r"a\.mp4: cannot be written \(File too large\)"):
            write_part(tmp_path / "a.mp4", noise, (64, 96))
        with pytest.raises(OutputError, match=r"b\.mp4: cannot be written \(File too large\)"):
            join(tmp_path / "b.mp4", [part], ticks, durations, MADE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == [part]


def test_a_video_that_is_cut_off(tmp_path: Path) -> None:
    """Its header is whole and declares frames that are not there."""
    data = write_video(
        tmp_path / "whole.mkv", [s for _ in range(10) for s in scenes()]
    ).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.mkv: (cut off|cannot be read)"):
        list(frames_of(read_clip(tmp_path / "cut.mkv")))
