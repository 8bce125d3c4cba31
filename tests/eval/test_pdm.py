"""Similarities, warps, and the point distribution model: fits, derivatives and its file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval.pdm import (
    MODES,
    POINTS,
    PointModel,
    euler_to_matrix,
    matrix_to_euler,
    read_point_model,
)
from eval.warp import similarity, transform_points, warp
from glow_jax.io.errors import InputError
from tests.support.point_model import made_up_model, text_of


def project(model: PointModel, pose: np.ndarray, q: np.ndarray) -> np.ndarray:
    shape = model.mean + model.components @ q
    return pose[0] * shape @ euler_to_matrix(pose[1:4])[:2].T + pose[4:]


@pytest.mark.parametrize("count", [2, 3, 68])
def test_a_similarity_is_found_again(count: int) -> None:
    rng = np.random.default_rng(count)
    points = rng.normal(50, 20, (count, 2))
    for angle, scale in ((0, 1), (0.3, 2.5), (-3, 0.1), (np.pi / 2, 1)):
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        matrix = np.array([[c, -s, 12.5], [s, c, -40]])
        np.testing.assert_allclose(
            similarity(points, transform_points(points, matrix)), matrix, atol=1e-11
        )


def test_the_way_back_is_the_inverse_even_where_the_shapes_differ() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 9, (2, 20, 2))
    there, back = (np.vstack([similarity(*p), [0, 0, 1]]) for p in ((one, other), (other, one)))
    np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-12)


def test_a_warp_follows_its_matrix_and_is_black_outside() -> None:
    image = np.random.default_rng(0).integers(1, 256, (20, 30, 3), np.uint8)
    shifted = warp(image, np.array([[1.0, 0, 3], [0, 1, -2]]), (18, 40))
    np.testing.assert_array_equal(shifted[:, 3:33], image[2:])
    assert not shifted[:, :3].any() and not shifted[:, 33:].any()
    turned = warp(image, np.array([[0.0, -1, 19], [1, 0, 0]]), (30, 20))
    np.testing.assert_array_equal(turned, np.rot90(image, -1))


def test_angles_survive_the_way_to_a_matrix_and_back() -> None:
    rng = np.random.default_rng(0)
    for angles in rng.uniform(-1, 1, (100, 3)) * (3, 1.5, 3):
        rotation = euler_to_matrix(angles)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)
        assert np.linalg.det(rotation) == pytest.approx(1)
        np.testing.assert_allclose(matrix_to_euler(rotation), angles, atol=1e-12)


def test_each_angle_turns_about_its_axis() -> None:
    x, y, z = (euler_to_matrix(0.5 * np.eye(3)[i]) for i in range(3))
    for i, rotation in enumerate((x, y, z)):
        np.testing.assert_allclose(rotation[i], np.eye(3)[i])
    np.testing.assert_allclose(euler_to_matrix(np.full(3, 0.5)), x @ y @ z, atol=1e-15)


def test_the_jacobian_is_that_of_finite_differences() -> None:
    model, rng = made_up_model(), np.random.default_rng(1)
    pose, q = np.array([1.7, 0.2, -0.3, 0.1, 60, 55]), rng.normal(0, 10, MODES)
    rotation = euler_to_matrix(pose[1:4])
    found = model._jacobian(model.mean + model.components @ q, rotation, pose[0])

    def points(step: np.ndarray) -> np.ndarray:
        # A turn's step is a small rotation before the pose's own, not a change of its angles.
        x, y, z = step[1:4]
        small = np.eye(3) + np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        shape = model.mean + model.components @ (q + step[6:])
        scale = pose[0] + step[0]
        return (scale * shape @ (rotation @ small)[:2].T + pose[4:] + step[4:6]).ravel()

    tiny = 1e-6 * np.eye(6 + MODES)
    by_hand = np.stack([(points(t) - points(-t)) / 2e-6 for t in tiny], axis=1)
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.1, -0.2, 0.15), (-0.3, 0.35, -0.4)])
def test_a_pose_is_found_from_its_points(angles: tuple[float, ...]) -> None:
    model = made_up_model()
    pose = np.array([1.3, *angles, 80, 64])
    found, q = model.fit(project(model, pose, np.zeros(MODES)))
    np.testing.assert_allclose(found[1:4], pose[1:4], atol=2e-3)
    np.testing.assert_allclose(found[[0, 4, 5]], pose[[0, 4, 5]], rtol=2e-3)
    assert np.abs(q).max() < 0.5


def test_pose_and_parameters_are_found_as_far_as_the_prior_lets_them() -> None:
    model, rng = made_up_model(), np.random.default_rng(3)
    pose, q = np.array([3.0, 0.1, -0.15, 0.05, 200, 180]), rng.normal(0, 6, MODES)
    points = project(model, pose, q)
    found, parameters = model.fit(points)
    # The points themselves are met; depth is not seen, so a part of q stays near the prior's 0.
    assert np.abs(project(model, found, parameters) - points).max() < 0.5
    assert np.corrcoef(parameters, q)[0, 1] > 0.95
    np.testing.assert_allclose(found[1:4], pose[1:4], atol=0.05)


def test_descriptors_are_deviations_axis_by_axis_then_parameters() -> None:
    model, q = made_up_model(), np.arange(34.0)
    found = model.descriptor(q)
    assert found.shape == (3 * POINTS + MODES,)
    np.testing.assert_allclose(found[:POINTS], (model.components @ q)[:, 0])
    np.testing.assert_allclose(found[136:204], (model.components @ q)[:, 2])
    np.testing.assert_array_equal(found[204:], q)


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    model = made_up_model()
    (tmp_path / "pdm.txt").write_text(text_of(model))
    found = read_point_model(tmp_path / "pdm.txt")
    np.testing.assert_allclose(found.mean, model.mean, rtol=1e-15)
    np.testing.assert_allclose(found.components, model.components, rtol=1e-15)
    np.testing.assert_allclose(found.eigenvalues, model.eigenvalues, rtol=1e-15)


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "words": lambda text: "this is not a model\n",
    "cut": lambda text: text[: len(text) // 2],
    "cut at the end": lambda text: text[:-40],
    "no eigenvalues": lambda text: text[: text.index("# The eigen")],
    "a word among numbers": lambda text: text.replace("204\n34", "204\nthirty-four"),
    "other size": lambda text: text.replace("204\n1\n", "203\n1\n"),
    "huge size": lambda text: text.replace("204\n1\n", f"{10**30}\n{10**30}\n"),
    "negative size": lambda text: text.replace("204\n34\n", "-204\n-34\n"),
    "not ASCII": lambda text: "\u00e9" + text,
    "NaN": lambda text: text.replace("6\n", "6\nnan ", 1).replace("204\n1\n", "205\n1\n"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_model_is_refused_in_one_line(
    tmp_path: Path, damage: Callable[[str], str]
) -> None:
    path = tmp_path / "pdm.txt"
    path.write_text(damage(text_of(made_up_model())), encoding="utf-8")
    with pytest.raises(InputError, match="pdm.txt: not an OpenFace point distribution model") as e:
        read_point_model(path)
    assert "\n" not in str(e.value)


def test_fewer_components_are_refused(tmp_path: Path) -> None:
    model = made_up_model()
    less = PointModel(model.mean, model.components[..., :33], model.eigenvalues[:33])
    text = text_of(model)
    head = text[: text.index("# The comp")]
    rows = less.components.transpose(1, 0, 2).reshape(204, 33)
    body = "204\n33\n6\n" + "\n".join(" ".join(map(str, row)) for row in rows)
    tail = "\n1\n33\n6\n" + " ".join(map(str, less.eigenvalues))
    (tmp_path / "pdm.txt").write_text(head + body + tail)
    with pytest.raises(InputError, match="not an OpenFace point distribution model"):
        read_point_model(tmp_path / "pdm.txt")


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_impossible_numbers_are_refused(tmp_path: Path, value: str) -> None:
    lines = text_of(made_up_model()).splitlines()
    lines[-1] = " ".join([value, *lines[-1].split()[1:]])
    (tmp_path / "pdm.txt").write_text("\n".join(lines))
    with pytest.raises(InputError, match="impossible numbers"):
        read_point_model(tmp_path / "pdm.txt")


def test_a_model_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "pdm.txt").open("wb") as file:
        file.truncate(2**34)
    with pytest.raises(InputError, match="17179869184 bytes; at most 16777216 are read"):
        read_point_model(tmp_path / "pdm.txt")


def test_a_missing_model_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(InputError, match="cannot be read|not an ordinary file"):
            read_point_model(path)
