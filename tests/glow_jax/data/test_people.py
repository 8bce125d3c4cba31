"""Who people are and how they are seen: every part from its own random stream."""

import dataclasses
import json
from collections import Counter
from typing import Any, get_args

import numpy as np
import pytest

from glow_jax.data.synthetic_faces.people import (
    AUS,
    BLENDSHAPES,
    CANONICAL,
    OPPOSED,
    SKIN,
    HairStyle,
    Setting,
    free_condition,
    person,
    picture,
    random_aus,
    specs,
    stream,
    studio_condition,
)
from glow_jax.io.errors import InputError

LUMA = np.array((0.3, 0.59, 0.11))


def numbers(of: Any) -> dict[str, Any]:
    """A dataclass's fields, comparable."""
    fields = dataclasses.asdict(of)
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}


@pytest.fixture(scope="module")
def crowd() -> list[Any]:
    return [person(5, i) for i in range(500)]


def test_the_same_seed_is_the_same_person_in_the_same_condition() -> None:
    assert numbers(person(1, 7)) == numbers(person(1, 7))
    assert free_condition(1, 7, 3) == free_condition(1, 7, 3)
    again = [s.label() for s in specs(range(3), 4, 64, "truth", 9)]
    assert again == [s.label() for s in specs(range(3), 4, 64, "truth", 9)]


def test_another_seed_or_number_is_another_person_and_another_condition() -> None:
    for other in (person(2, 7), person(1, 8)):
        assert not np.allclose(other.shape, person(1, 7).shape)
        assert other.skin != person(1, 7).skin and other.texture != person(1, 7).texture
    for other in (free_condition(2, 7, 3), free_condition(1, 8, 3), free_condition(1, 7, 4)):
        here = numbers(free_condition(1, 7, 3))
        differ = {name for name, value in numbers(other).items() if value != here[name]}
        assert differ >= set(here) - {"number"}


def test_people_do_not_depend_on_how_many_there_are() -> None:
    few, many = specs(range(4, 5), 6, 64, "free", 2), specs(range(9), 8, 64, "free", 2)
    by_name = {s.name: s for s in many}
    assert all(by_name[s.name] == s for s in few)


def test_an_expression_leaves_person_and_condition_alone() -> None:
    shot = free_condition(4, 2, 0)
    plain, smile = (picture(4, 2, shot, "a", expression=e) for e in ("neutral", "bigsmile"))
    assert plain.condition == smile.condition and plain.aus != smile.aus
    assert plain.identity == smile.identity and plain.seed == smile.seed
    odd = picture(4, 2, shot, "b")
    assert odd.condition == shot and odd.expression == "random"
    assert picture(4, 2, free_condition(4, 2, 1), "b").aus == odd.aus


def test_parts_of_a_person_are_drawn_apart(crowd: list[Any]) -> None:
    """Nothing of a person tells another part, but for age, hair and skin where it is meant."""
    columns = {
        "shape": [p.shape[0] for p in crowd],
        "tone": [np.array(p.skin) @ LUMA for p in crowd],
        "age": [p.age for p in crowd],
        "lips": [p.lip_strength for p in crowd],
        "brow": [p.brow[0] for p in crowd],
        "gloss": [p.gloss for p in crowd],
        "cloth": [sum(p.cloth) for p in crowd],
        "curl": [p.curl for p in crowd],
        "texture": [p.texture for p in crowd],
    }
    apart = np.abs(np.corrcoef(list(columns.values())) - np.eye(len(columns)))
    assert apart.max() < 0.16, apart.round(2)


def test_skin_covers_light_to_deep_evenly(crowd: list[Any]) -> None:
    scale = (SKIN @ LUMA)[::-1]  # rising
    tones = np.interp([np.array(p.skin) @ LUMA for p in crowd], scale, np.linspace(1, 0, len(SKIN)))
    counts, _ = np.histogram(tones, np.linspace(0, 1, 6))
    assert counts.min() > 60 and counts.max() < 145, counts
    assert np.array([p.skin for p in crowd]).min() > 0.01
    assert np.array([p.skin for p in crowd]).max() < 0.8


def test_every_kind_of_person_occurs(crowd: list[Any]) -> None:
    styles = Counter(p.hair for p in crowd)
    assert set(styles) == set(get_args(HairStyle))
    assert min(styles.values()) > 25, styles
    beards = np.array([p.beard for p in crowd])
    assert 0.08 < (beards > 0).mean() < 0.35 and beards.max() <= 1
    assert 0.05 < np.mean([p.glasses for p in crowd]) < 0.2
    ages = np.array([p.age for p in crowd])
    assert ages.min() < 0.05 and ages.max() > 0.9
    for p in crowd:
        assert (p.volume_cm == 0) == (p.hair == "bald")
        colours = np.array([p.skin, p.lips, p.hair_colour, p.iris, p.cloth])
        assert colours.min() > 0 and colours.max() < 1
    shapes = np.array([p.shape for p in crowd])
    assert np.abs(shapes.mean()) < 0.02 and 0.8 < shapes[:, :60].std() < 1


def test_conditions_stay_within_what_a_camera_sees() -> None:
    shots = [free_condition(0, i, i % 5) for i in range(300)]
    yaw, pitch, roll = np.abs([s.pose_deg for s in shots]).T
    assert yaw.max() <= 22 and pitch.max() <= 12 and roll.max() <= 5
    assert yaw.std() > 3
    assert np.abs([s.gaze for s in shots]).max() <= 0.8
    distances = np.array([s.distance_cm for s in shots])
    assert distances.min() >= 45 and distances.max() <= 160
    np.testing.assert_allclose(np.linalg.norm([s.key_direction for s in shots], axis=1), 1)
    assert all(s.key_direction[2] > 0 for s in shots)  # from before the face
    assert len({s.background for s in shots}) == 300
    assert studio_condition() == studio_condition()


def test_random_expressions_are_activations_without_opposed_pairs() -> None:
    rng, seen = np.random.default_rng(3), Counter[str]()
    for _ in range(3000):
        aus = random_aus(rng)
        assert all(0 < v <= 1 for v in aus.values())
        assert list(aus) == [au for au in AUS if au in aus]
        assert not any(aus.get(kept, 0) > 0.2 and lost in aus for kept, lost in OPPOSED)
        seen.update(aus)
    assert set(seen) == set(AUS) and min(seen.values()) > 200


def test_canonical_expressions_are_made_of_known_units() -> None:
    for aus in CANONICAL.values():
        assert set(aus) <= set(AUS) and all(0 < v <= 1 for v in aus.values())
        assert not any(kept in aus and lost in aus for kept, lost in OPPOSED)
    assert len(set(BLENDSHAPES.values())) == len(AUS)


@pytest.mark.parametrize("setting", get_args(Setting))
def test_names_are_unique_and_labels_are_json(setting: Setting) -> None:
    found = specs(range(2, 5), 5, 32, setting, 1)
    assert len({s.name for s in found}) == len(found)
    for spec in found:
        label = spec.label()
        assert json.loads(json.dumps(label, allow_nan=False)) == label
        assert label["identity"] == spec.identity and spec.size_px == 32
        assert spec.name == f"id{spec.identity:05d}_{label['picture']}"
        assert set(label["aus"]) <= set(AUS)
        assert len(spec.asymmetry) == len(AUS) and max(map(abs, spec.asymmetry)) <= 0.3


def test_free_pictures_have_a_condition_each_and_the_first_is_neutral() -> None:
    found = specs(range(2), 5, 64, "free", 1)
    assert len(found) == 10
    for i, spec in enumerate(found):
        assert spec.condition == free_condition(1, i // 5, i % 5)
        assert spec.crop == "own"
        assert spec.expression == ("random" if i % 5 else "neutral")
    assert not found[0].aus and not found[5].aus


def test_pairs_share_a_condition_and_the_first_is_neutral() -> None:
    found = specs(range(60), 4, 64, "pairs", 1)
    assert len(found) == 240
    for before, after in zip(found[::2], found[1::2], strict=True):
        assert before.condition == after.condition and before.identity == after.identity
        assert before.crop == after.crop == "neutral"
        assert not before.aus
        assert before.asymmetry == (0.0,) * len(AUS)
    assert found[0].condition != found[2].condition
    assert {after.expression for after in found[1::2]} == {"random"}
    assert np.mean([bool(after.aus) for after in found[1::2]]) > 0.95  # few draw no unit at all


def test_matched_is_every_expression_in_the_studio() -> None:
    found = specs(range(2), 9, 64, "matched", 1)
    assert [s.expression for s in found] == 2 * list(CANONICAL)
    assert {s.condition for s in found} == {studio_condition()}
    assert all(s.aus == CANONICAL[s.expression] and not any(s.asymmetry) for s in found)


def test_truth_has_what_the_benchmark_asks_for() -> None:
    found = {s.picture: s for s in specs(range(3, 4), 16, 64, "truth", 1)}
    n = len(CANONICAL)
    kinds = Counter(name.split("_")[0] for name in found)
    assert kinds == {"studio": n, "photo": 16, "shot": n - 1, "truth": n - 1}
    first = found["photo_0"]
    assert first.expression == "neutral" and first.crop == "neutral"
    for name in CANONICAL:
        if name != "neutral":
            truth, shot = found[f"truth_{name}"], found[f"shot_{name}"]
            assert truth.condition == first.condition and truth.crop == first.crop
            assert truth.aus == shot.aus == CANONICAL[name]
            assert shot.crop == "own"
    photos = [found[f"photo_{i}"] for i in range(16)]
    shots = [found[f"shot_{name}"] for name in CANONICAL if name != "neutral"]
    assert len({s.condition for s in photos + shots}) == 16 + n - 1
    plain = [
        s.expression == "neutral"
        for s in specs(range(40), 16, 64, "truth", 1)
        if s.picture.startswith("photo") and s.picture != "photo_0"
    ]
    assert 0.4 < np.mean(plain) < 0.6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"setting": "best"}, "setting 'best': use one of free, pairs, matched, truth"),
        ({"size_px": 8}, "size 8"),
        ({"pictures": 0}, "pictures 0"),
    ],
)
def test_bad_settings_are_one_line(unchecked: None, changes: dict[str, Any], message: str) -> None:
    words: dict[str, Any] = {"pictures": 2, "size_px": 64, "setting": "free", "seed": 0}
    with pytest.raises(InputError) as caught:
        specs(range(2), **(words | changes))
    assert message in str(caught.value) and str(caught.value).isprintable()


def test_an_unknown_expression_is_one_line() -> None:
    with pytest.raises(InputError, match="expression 'grin': use one of neutral, smile") as caught:
        picture(0, 0, studio_condition(), "a", expression="grin")
    assert str(caught.value).isprintable()


def test_streams_are_told_apart_by_every_step_of_their_path() -> None:
    paths = [(0,), (0, 1), (1, 0), (0, "a"), (0, "b"), (0, 1, "a"), (0, "a", 1)]
    draws = [stream(*path).uniform() for path in paths]  # type: ignore[arg-type]
    assert len(set(draws)) == len(paths)
    assert stream(0, "a").uniform() == stream(0, "a").uniform()
