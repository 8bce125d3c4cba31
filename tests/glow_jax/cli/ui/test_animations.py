"""The tab Animate: its form as a request and as a command line; bounds; the same bytes."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glow_jax.cli.main import main
from glow_jax.cli.ui import animations, bundled
from glow_jax.cli.ui.animations import AnimateForm, gather, pack, run
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.forms import Person
from glow_jax.cli.ui.gather import BY_SIZE, PHOTOGRAPHS, SUITABLE
from glow_jax.cli.ui.staging import Upload
from glow_jax.cli.ui.tab_animate import Stops, said
from glow_jax.io.errors import InputError
from glow_jax.io.video_reader import frames_of, read_clip
from tests.support.videos import scene, write_video
from transfer.cli import animate as verb

pytest.importorskip("av", reason="needs PyAV, of the extra video")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    folder = tmp_path / "private"
    folder.mkdir()
    return Engine(folder)


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "clip": None,
        "bundled": True,
        "target": None,
        "target_name": "person-16",
        "alpha": 0.7,
        "method": SUITABLE,
        "source_neutral": " auto ",
        "pictures": BY_SIZE,
        "model": SUITABLE,
        "paste_back": True,
        "neutralise": False,
        "mark": False,
        **changes,
    }


@pytest.mark.parametrize("photographs", [False, True])
def test_words_and_request_say_the_same(photographs: bool) -> None:
    clip, face = Person(Path("/x/a b.mp4"), "a b.mp4"), Person(Path("/x/c.png"), "c.png")
    form = AnimateForm(
        clip, face, "0:5", "glow", 0.35, "photo64", photographs, photographs, True, "AI-edited"
    )
    parser = argparse.ArgumentParser()
    verb.add_options(parser)
    assert form.words[:2] == ["glow-jax", "animate"]
    args, request = parser.parse_args(form.words[2:]), form.request(Path("result.mp4"))
    assert args.driving == Path("a b.mp4") and args.target == Path("c.png")
    names = ("source_neutral", "smooth_s", "rate", "model", "precision", "method", "alpha")
    for name in (*names, "paste_back", "neutralise", "mark", "batch_size"):
        assert getattr(args, name) == getattr(request, name), name
    args.given = ()
    assert args.out == Path("result.mp4")
    assert verb.photographs_if_aligned(args) == request.photographs


def test_uploads_are_bounded(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "clip.mp4", [scene(i) for i in range(6)])
    upload = Upload(path, "../my clip.mp4")
    form = gather(engine, fields(clip=upload, bundled=False, pictures=PHOTOGRAPHS))
    assert form.driving.shown == "my clip.mp4" and form.photographs and form.paste_back
    assert (form.model, form.method, form.source_neutral) == ("photo64", "glow", "auto")
    limits = [
        ("MAX_CLIP_BYTES", 100, "bytes; at most 100 in a clip"),
        ("MAX_FRAMES", 5, r"my clip\.mp4: 6 frames; at most 5 here"),
        ("MAX_FRAME_PIXELS", 1000, "frames of 96 x 64 pixels"),
        ("MAX_MADE_PIXELS", 1000, "too many here"),
    ]
    for name, value, message in limits:
        with monkeypatch.context() as patch:
            patch.setattr(animations, name, value)
            with pytest.raises(InputError, match=message):
                gather(engine, fields(clip=upload, bundled=False, pictures=PHOTOGRAPHS))
    path.write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(500))
    with pytest.raises(InputError, match=r"my clip\.mp4"):
        gather(engine, fields(clip=upload, bundled=False))
    with pytest.raises(InputError, match="no clip"):
        gather(engine, fields(bundled=False))
    with pytest.raises(InputError, match="no picture"):
        gather(engine, fields(target_name=None))


def test_a_session_stops_its_own_animation() -> None:
    stops = Stops()
    with stops.running("ann") as ann, stops.running("bob") as bob:
        stops.stop("bob")
        stops.stop("nobody")
        assert bob.is_set() and not ann.is_set()
    stops.stop("ann")
    assert not ann.is_set()


def made_again(archive: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Unpack a ZIP, run its command, which must make the same files; returns the video."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    monkeypatch.chdir(folder)
    command = json.loads(Path("recipe.json").read_text())["command"]
    kept = {name: Path(name).read_bytes() for name in ("result.mp4", "result.csv")}
    for name in kept:
        Path(name).unlink()
    assert main(command[1:]) == 0
    assert {name: Path(name).read_bytes() for name in kept} == kept
    return kept["result.mp4"]


@pytest.mark.slow
def test_a_photograph_is_animated_by_glow(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [frame.pixels for frame in frames_of(read_clip(bundled.CLIP))][12:20]
    path = write_video(tmp_path / "raw.mp4", frames)
    asked = fields(clip=Upload(path, "me.mp4"), bundled=False, target_name="photo-41")
    form = gather(engine, asked)
    assert (form.photographs, form.model, form.method) == (True, "photo64", "glow")
    done = run(engine, form, lambda *step: None)
    assert (done.method, done.frames) == ("glow", 8)
    video = made_again(pack(done, form), tmp_path / "unpacked", monkeypatch)
    assert done.out.read_bytes() == video


@pytest.mark.slow
def test_it_makes_what_its_command_makes(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled clip, with sound added, as an upload."""
    frames = [frame.pixels for frame in frames_of(read_clip(bundled.CLIP))][:20]
    path = write_video(tmp_path / "raw.mp4", frames, sound="aac")
    form = gather(engine, fields(clip=Upload(path, "it's me.mp4"), bundled=False))
    assert (form.photographs, form.model, form.method) == (False, "faces64", "warp")
    seen: list[tuple[str, int, int]] = []
    done = run(engine, form, lambda *step: seen.append(step))
    assert done.frames == 20 and done.sound == "aac" and read_clip(done.out).sound == "aac"
    assert {stage for stage, _, _ in seen} == {"read", "make"} and "20 frames" in said(done, form)
    archive = pack(done, form)
    assert not list(done.out.parent.glob("*.work"))
    video = made_again(archive, tmp_path / "unpacked", monkeypatch)
    assert done.out.read_bytes() == video

    def stop(stage: str, n: int, total: int) -> None:
        if stage == "make" and n == 5:
            raise InputError("stopped")

    with pytest.raises(InputError, match="stopped"):
        run(engine, form, stop)
    left = [p for p in (engine.folder / "animations").rglob("*") if p.is_file()]
    assert {p.parent for p in left} == {done.out.parent}
    monkeypatch.setattr(animations, "MAX_FRAMES", 10)
    with pytest.raises(InputError, match="more than 10 frames"):
        run(engine, form, lambda *step: None)
    assert np.ptp([frame.pixels for frame in frames_of(read_clip(done.out))], axis=0).max() > 20
