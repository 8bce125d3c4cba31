"""A form as a request and as a command line; what the fields leave open."""

import argparse
from pathlib import Path

import pytest

from glow_jax.cli.ui import bundled
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.forms import MIN_FACE_PX, Person, TransferForm, command_text
from glow_jax.cli.ui.gather import ALIGNED, Fields, gather
from glow_jax.cli.ui.staging import Upload
from glow_jax.io.errors import InputError
from tests.support.paths import ROOT
from transfer.cli import transfer as verb

HEAD = ROOT / "tests" / "heads" / "29_0.webp"


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_options(parser)
    assert words[:2] == ["glow-jax", "transfer"]
    return parser.parse_args(words[2:])


@pytest.mark.parametrize("alpha", [0.0, 0.35, 1.0, -0.5])
@pytest.mark.parametrize("photographs", [False, True])
def test_words_and_request_say_the_same(alpha: float, photographs: bool) -> None:
    person = Person(Path("/x/a b.png"), "a b.png")
    form = TransferForm(
        person,
        Person(Path("/x/bob"), "bob"),
        None,
        "glow",
        "photo64",
        photographs,
        photographs,
        True,
    )
    request, args = form.request(alpha, Path("out")), parsed(form.words(alpha))
    assert args.expressions == [Path("a b.png")] and args.targets == [Path("bob")]
    assert args.source is None and [float(a) for a in args.alphas] == [alpha] == request.alphas
    for name in ("method", "model", "batch_size", "paste_back", "neutralise", "precision"):
        assert getattr(args, name) == getattr(request, name)
    assert args.photographs == (request.photographs is not None)
    if request.photographs is not None:
        assert args.min_face == request.photographs.limits.side_px == MIN_FACE_PX
        args.given = ()
        assert verb.photographs_if_aligned(args) == request.photographs


def test_a_command_is_quoted_for_a_shell() -> None:
    words = ["glow-jax", "transfer", "--expression", "a b.png", "--alpha=-0.5", "-o", "$(rm x)"]
    assert command_text(words) == (
        "glow-jax transfer \\\n    --expression 'a b.png' \\\n    --alpha=-0.5 \\\n    -o '$(rm x)'"
    )


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def test_bundled_people_need_no_face_detector(engine: Engine) -> None:
    form = gather(engine, Fields("smile", "person-16"))
    assert form.source is not None and form.source.path == bundled.people()["person-41"]
    assert (form.model, form.photographs, form.paste_back) == ("faces64", False, False)


def test_photographs_are_told_by_their_size(engine: Engine) -> None:
    target = Upload(HEAD, "person-41.webp")
    form = gather(engine, Fields("smile", target))
    assert (form.model, form.photographs, form.paste_back) == ("photo64", True, True)
    # A name that the bundled person has: outputs would be named by more of the path.
    assert form.target.path.name == form.target.shown == "person-41-2.webp"
    assert form.target.path.read_bytes() == HEAD.read_bytes()
    form = gather(engine, Fields("smile", target, pictures=ALIGNED, model="faces64"))
    assert (form.model, form.photographs) == ("faces64", False)


def test_uploads_are_staged_under_distinct_names(engine: Engine) -> None:
    uploads = Upload(HEAD, "me.webp"), Upload(HEAD, "ME.jpg"), Upload(HEAD, "me.webp")
    form = gather(engine, Fields(uploads[0], uploads[1], (uploads[2],)))
    assert form.source is not None
    names = [p.path.name for p in (form.expression, form.source, form.target)]
    assert names == ["me.webp", "me-2.webp", "ME-3.jpg"]
    assert len({p.path.parent for p in (form.expression, form.source, form.target)}) == 1


def test_what_is_missing_is_said(engine: Engine) -> None:
    with pytest.raises(InputError, match="no expression"):
        gather(engine, Fields(None, "person-16"))
    with pytest.raises(InputError, match="no target"):
        gather(engine, Fields("smile", None))


def test_a_damaged_upload_is_one_line(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(b"text")
    with pytest.raises(InputError, match=r"smile\.png: "):
        gather(engine, Fields(Upload(path, "smile.png"), "person-16"))


def test_bundled_photographs_go_with_their_own_neutral_picture(engine: Engine) -> None:
    form = gather(engine, Fields("photo-smile", "photo-781"))
    assert form.source is not None and form.source.path.name == "person-461.jpg"
    assert form.target.path == bundled.people()["photo-781"] == bundled.faces()["photo-781"]
    assert (form.model, form.photographs, form.paste_back) == ("photo64", True, True)
