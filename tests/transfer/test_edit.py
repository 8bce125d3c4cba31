"""Edits, directions and interpolations as jobs: right values, laws, and what is said."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from glow_jax.io.animations import read_animation_provenance
from glow_jax.io.errors import InputError
from glow_jax.io.output_schema import ABSOLUTE, NOTHING
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance
from tests.support.expressions import painting_models, portraits, random_expressions
from tests.support.linear import contents, linear_models, picture, rows_of
from transfer import api, make_direction, planned
from transfer.directions import Direction, load_direction
from transfer.expression.absolute import Population
from transfer.expression.edits import Edit
from transfer.methods.base import Models
from transfer.requests import EditRequest, InterpolateRequest

MADE_UP = Provenance("trainedAlgorithmicMedia", "test", {})
POPULATION = Population(*np.float32([[-1] * 3, [1] * 3, [0.01] * 3, [0.2] * 3]))


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    """An expression model that can read absolutely, in place of what `load_models` finds."""
    found = painting_models(dataclasses.replace(random_expressions(), population=POPULATION))
    use(found, monkeypatch)
    return found


def use(found: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (api, planned, make_direction):
        monkeypatch.setattr(module, "load_models", lambda *_, **__: found)
    monkeypatch.setattr("transfer.complete.far_limit_of", lambda _: None)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """ann/0.png, ann/1.png and bob/0.png, at the size of expressions."""
    for name, seed, n in (("ann", 1, 2), ("bob", 2, 1)):
        (tmp_path / name).mkdir()
        for i, pixels in enumerate(portraits(n, seed=seed)):
            write_image(tmp_path / name / f"{i}.png", pixels, MADE_UP)
    return tmp_path


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """with/ and without/, of pictures of the stand-in flow, whose latents are grey levels."""
    use(linear_models(), monkeypatch)
    for name, seeds in (("with", (1, 2, 3)), ("without", (4, 5))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            write_image(tmp_path / name / f"{seed}.png", picture(seed), MADE_UP)
    return tmp_path


def test_an_edit_of_the_same_picture_twice_is_made_once(people: Path, models: Models) -> None:
    lines: list[str] = []
    ann = people / "ann" / "0.png"
    (people / "ann" / "copy.png").write_bytes(ann.read_bytes())
    request = EditRequest([people / "ann"], people / "out", Edit(set={"smile": 0.5}))
    assert api.edit(request, notify=lines.append).made == 2
    assert "left out: 1 output that would equal others" in lines


def test_an_edit_is_a_folder_like_a_transfers(people: Path, models: Models) -> None:
    """Every picture by itself; alpha 0 gives its bytes; a second run finds everything done."""
    lines: list[str] = []
    out, edit = people / "out", Edit(set={"smile": 0.5}, add={"AU1": 0.4})
    request = EditRequest([people / "ann", people / "bob" / "0.png"], out, edit, alphas=[0.0, 1.0])
    done = api.edit(request, notify=lines.append)
    assert (done.made, done.method, done.skipped) == (6, "edit", ())
    rows = rows_of(out)
    assert [row["note"] for row in rows] == [ABSOLUTE] * 6
    for row in rows:
        before, after = read_image(row["expression"]), read_image(out / row["file"])
        assert (before == after).all() == (row["alpha"] == "0.0")
        record = read_provenance(out / row["file"])
        assert record is not None and record.recipe["edit"] == "AU12=0.5, AU1+0.4"
    assert {row["source"] for row in rows} == {row["target"] for row in rows}
    assert "edit: AU12=0.5, AU1+0.4" in lines and any("read absolutely" in line for line in lines)
    assert done.sheet is not None and read_image(done.sheet).shape[1] == 6 + 3 * 134
    before = contents(out)
    again = api.edit(request)
    assert (again.made, again.kept) == (0, 6) and contents(out) == before
    other = dataclasses.replace(request, edit=Edit(set={"smile": 0.6}))
    with pytest.raises(InputError, match="holds another job"):
        api.edit(other)


def test_adding_reads_nothing_and_works_without_a_population(
    people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(painting_models(), monkeypatch)
    request = EditRequest([people / "bob"], people / "out", Edit(add={"AU26": 0.5}))
    api.edit(request)
    (row,) = rows_of(people / "out")
    assert row["note"] == "" and (read_image(people / "out" / row["file"])).any()
    with pytest.raises(InputError, match="version 0.1.*give `reference`"):
        api.neutralise(dataclasses.replace(request, out=people / "other"))


def test_a_reference_is_read_against(people: Path, models: Models) -> None:
    """ann/0.png is one of the reference's pictures, the other is neutral: a relative reading."""
    request = EditRequest([people / "ann" / "0.png"], people / "out", reference=people / "ann")
    api.neutralise(request)
    (row,) = rows_of(people / "out")
    assert row["note"] in ("", NOTHING) and row["source"] == "ann" and row["target"] == "0"


def test_what_is_nothing_is_said(people: Path, models: Models) -> None:
    """A picture as neutral as the noise has nothing to take off."""
    deaf = dataclasses.replace(
        models.expression_model, population=POPULATION._replace(noise=np.full(3, 1e6, np.float32))
    )
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        use(dataclasses.replace(models, expression_model=deaf), patch)
        request = EditRequest([people / "bob"], people / "out")
        done = api.neutralise(request, notify=lines.append)
    (row,) = rows_of(people / "out")
    assert NOTHING in row["note"] and done.totals.nothing == 1
    assert any("0.png shows what is stated already" in line for line in lines)
    with pytest.raises(InputError, match="no edit is stated"):
        api.edit(dataclasses.replace(request, edit=Edit(add={"AU1": 0.0})))


def test_a_bad_picture_is_left_out_and_the_others_are_edited(people: Path, models: Models) -> None:
    (people / "ann" / "0.png").write_bytes(b"no picture")
    request = EditRequest([people / "ann"], people / "out", Edit(add={"smile": 1.0}))
    done = api.edit(request)
    assert (done.made, done.totals.failed, len(done.skipped)) == (1, 1, 1)
    alone = dataclasses.replace(request, pictures=[people / "ann" / "0.png"], out=people / "o2")
    with pytest.raises(InputError, match=r"no picture can be edited: .*0\.png"):
        api.edit(alone)
    assert not (people / "o2").exists()


def test_a_direction_is_the_difference_of_means(small: Path) -> None:
    file = small / "d.npz"
    found = make_direction.make_direction([small / "with"], [small / "without"], file)
    want = np.mean([picture(i) for i in (1, 2, 3)], 0) - np.mean([picture(4), picture(5)], 0)
    np.testing.assert_allclose(found.levels[0], want, atol=1e-4)
    assert (found.n_with, found.n_without, found.model) == (3, 2, "linear")
    assert isinstance(load_direction(file), Direction)


def test_a_direction_is_added_with_its_strength(small: Path) -> None:
    """The stand-in flow's latents are grey levels, so the output is the sum."""
    file, out = small / "d.npz", small / "out"
    found = make_direction.make_direction([small / "with"], [small / "without"], file)
    request = EditRequest([small / "with" / "1.png"], out, direction=file, alphas=[-0.25, 0.0, 0.5])
    api.edit(request)
    for row in rows_of(out):
        want = picture(1) + 0.5 + float(row["alpha"]) * found.levels[0]
        got = read_image(out / row["file"])
        np.testing.assert_array_equal(got, np.clip(np.floor(want), 0, 255))


@pytest.mark.parametrize("rule", ["linear", "spherical"])
def test_an_interpolation_ends_in_both_pictures(small: Path, rule: str) -> None:
    first, second, out = small / "with" / "1.png", small / "without" / "4.png", small / "out"
    request = InterpolateRequest(first, second, out, 3, rule, animate="gif")
    done = api.interpolate(request)
    rows = rows_of(out)
    assert [float(row["alpha"]) for row in rows] == [0, 0.5, 1]
    pixels = [read_image(out / row["file"]).astype(float) for row in rows]
    np.testing.assert_array_equal(pixels[0], picture(1))
    np.testing.assert_array_equal(pixels[2], picture(4))
    if rule == "linear":
        middle = (picture(1).astype(float) + picture(4)) / 2
        np.testing.assert_array_equal(pixels[1], np.floor(middle + 0.5))
    assert rows[1]["file"].startswith("images/1_4_a0.5_")
    assert done.animated is not None and done.animated.made == 1
    (file,) = (out / "animations").iterdir()
    record = read_animation_provenance(file)
    assert record is not None and record.recipe["edit"] == f"{rule} interpolation"
    again = api.interpolate(request)
    assert again.animated is not None and (again.animated.made, again.animated.kept) == (0, 1)


def test_between_a_picture_and_itself_there_is_nothing(small: Path) -> None:
    one = small / "with" / "1.png"
    done = api.interpolate(InterpolateRequest(one, one, small / "out", 2))
    assert done.totals.nothing == 2


def test_what_a_direction_cannot_be_made_of(small: Path) -> None:
    with pytest.raises(InputError, match="3 pictures of `positives` are also in `negatives`"):
        make_direction.make_direction([small / "with"], [small / "with"], small / "d.npz")
    for name in ("1", "2"):
        (small / name).mkdir()
        write_image(small / name / "copy.png", picture(7), MADE_UP)
    with pytest.raises(InputError, match="the direction is zero"):
        make_direction.make_direction([small / "1"], [small / "2"], small / "d.npz")
    (small / "2" / "copy.png").write_bytes(b"")
    with pytest.raises(InputError, match="`negatives`: no picture can be used"):
        make_direction.make_direction([small / "1"], [small / "2"], small / "d.npz")
    assert not (small / "d.npz").exists()


def test_a_direction_of_another_model_is_refused(small: Path) -> None:
    file = small / "d.npz"
    make_direction.make_direction([small / "with"], [small / "without"], file)
    with pytest.MonkeyPatch.context() as patch:
        use(linear_models(fingerprint="0" * 64), patch)
        with pytest.raises(InputError, match="'d' was made with model 'linear', and does not fit"):
            api.edit(EditRequest([small / "with"], small / "out", direction=file))


def test_requests_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match="two kinds of edit"):
        EditRequest(["a.png"], "out", Edit(neutral=True), direction="d.npz")
    with pytest.raises(InputError, match="`reference` has no meaning"):
        EditRequest(["a.png"], "out", Edit(add={"AU1": 1.0}), reference="b").check_stated()
    with pytest.raises(InputError, match="`steps` is 1"):
        InterpolateRequest("a.png", "b.png", "out", 1)
