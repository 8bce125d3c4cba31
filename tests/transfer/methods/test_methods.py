"""What every method promises, and that a new one is a file and a name."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance
from tests.support.expressions import painting_models, portraits
from tests.support.linear import linear_models, picture, rows_of, run
from transfer import methods
from transfer.jobs.job import make_job
from transfer.jobs.plan import plan_transfer
from transfer.jobs.sheet import job_sheet
from transfer.methods import METHODS, default_method, method_class
from transfer.methods.base import Decoded, Method, Models, Reference, Rows


class Brighten:
    """A toy method: alpha times 50 grey levels on the target's first picture."""

    name: ClassVar[str] = "brighten"
    default_alphas: ClassVar[tuple[float, ...]] = (1.0,)
    reference_name: ClassVar[str] = "first"

    def __init__(self, models: Models, faces: Any):
        self._faces = faces

    @classmethod
    def check(cls, models: Models) -> None:
        pass

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        return {"brightness": "50"}

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        return cls.recipe(models)

    def notes(self, prepared: np.ndarray) -> list[str]:
        return [""] * len(prepared)

    def prepare(self, rows: Rows) -> np.ndarray:
        return self._faces.pixels([self._faces.usable(t)[0] for t in rows.targets])

    def edit(self, prepared: np.ndarray, alphas: np.ndarray) -> Decoded:
        values = prepared + np.float32(0.5) + 50 * alphas[:, None, None, None]
        return Decoded(values, np.ones(len(values)), np.zeros(len(values), int))

    def unedited(self, prepared: np.ndarray) -> np.ndarray:
        return prepared

    def max_alphas(self, prepared: np.ndarray) -> np.ndarray:
        return np.ones(len(prepared))

    def reference(self, person: int) -> Reference:
        used = self._faces.usable(person)[:1]
        return Reference(self._faces.latents(used)[0], used)

    def photograph(self, person: int) -> int:
        return self._faces.usable(person)[0]

    def paste(self, *_: Any) -> np.ndarray:
        raise NotImplementedError


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two people with two pictures each."""
    made_up = Provenance("trainedAlgorithmicMedia", "test", {})
    for name, seeds in {"ann": (1, 2), "bob": (3, 4)}.items():
        (tmp_path / name).mkdir()
        for seed in seeds:
            write_image(tmp_path / name / f"{seed}.png", picture(seed), made_up)
    return tmp_path


def test_a_new_method_is_a_class_and_a_name(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "brighten", Brighten)
    models, out = linear_models(), tmp_path / "out"
    asked = plan_transfer(
        [people / "ann" / "1.png"], people / "ann", [people / "bob"], (0.0, 1.0), "brighten"
    )
    job = make_job(asked, models)
    run(job, models, out, batch_size=2)
    rows = {row["alpha"]: row for row in rows_of(out)}
    assert {row["method"] for row in rows.values()} == {"brighten"}
    np.testing.assert_array_equal(read_image(out / rows["0.0"]["file"]), picture(3))
    brighter = np.minimum(picture(3).astype(int) + 50, 255)
    np.testing.assert_array_equal(read_image(out / rows["1.0"]["file"]), brighter)
    np.testing.assert_array_equal(read_image(out / "means" / "target_bob.png"), picture(3))
    assert job.how["brightness"] == "50"
    assert job_sheet(job, out, read_image).ndim == 3
    assert isinstance(Brighten(models, None), Method)


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_class_keeps_the_protocol(name: str) -> None:
    method = method_class(name)
    assert method.name == name and method.default_alphas and method.reference_name
    models = painting_models()
    method.check(models)
    assert all(isinstance(v, str) for kv in method.recipe(models).items() for v in kv)


def test_the_default_is_the_first_that_the_models_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_method(painting_models(), photographs=False) == "warp"
    assert default_method(painting_models(), photographs=True) == "glow"
    assert default_method(linear_models(), photographs=False) == "paper"
    assert default_method(linear_models(), photographs=True) == "paper"
    monkeypatch.setattr(methods, "ORDER", ("warp",))
    with pytest.raises(InputError, match=r"no method works with model 'linear': warp: .*npz"):
        methods.default_method(linear_models(), photographs=False)


@pytest.mark.parametrize("name", METHODS)
def test_at_alpha_0_nothing_is_edited(name: str, tmp_path: Path) -> None:
    """To a grey level, for every method: what is added is the expression and nothing else."""
    made_up = Provenance("trainedAlgorithmicMedia", "test", {})
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        for i, pixels in enumerate(portraits(2, seed=len(person) + ord(person[0]))):
            write_image(tmp_path / person / f"{i}.png", pixels, made_up)
    models, out = painting_models(), tmp_path / "out"
    asked = plan_transfer(
        [tmp_path / "ann" / "0.png"], tmp_path / "ann", [tmp_path / "bob"], (0.0,), name
    )
    run(make_job(asked, models), models, out, batch_size=2)
    (row,) = rows_of(out)
    got = read_image(out / row["file"]).astype(int)
    assert np.abs(got - read_image(out / "means" / "target_bob.png")).max() <= 1
