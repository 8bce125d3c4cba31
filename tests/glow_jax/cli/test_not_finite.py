"""Models that lose their inverse or leave the numbers' range: no verb calls their output exact."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import glow_jax as gj
from glow_jax.checkpoints import save_weights, weights_of
from glow_jax.cli.main import main
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from glow_jax.training.step import condition_number
from tests.support.models import glow

CONFIG = gj.GlowConfig(8, 8, n_levels=2, n_steps=1, hidden_width=8, n_bits=5)
Change = Callable[[dict], None]


def ill_conditioned(first_step: dict) -> None:
    """A 1x1 convolution whose smallest singular value is 1e-8 of its largest."""
    u, s, v = np.linalg.svd(first_step["mix"]["kernel"].astype(np.float64))
    s[:, -1] = s[:, 0] / 1e8
    first_step["mix"]["kernel"] = (u * s[:, None] @ v).astype(np.float32)


def out_of_range(first_step: dict) -> None:
    """An actnorm that multiplies by exp(3 * 30), more than a float32 holds."""
    first_step["norm"]["logs"] = np.full_like(first_step["norm"]["logs"], 30)


def singular(first_step: dict) -> None:
    first_step["mix"]["kernel"] = np.zeros_like(first_step["mix"]["kernel"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with three pictures."""
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        pixels = rng.integers(0, 256, CONFIG.image_shape, np.uint8)
        made = Provenance("algorithmicMedia", "test", {})
        write_image(tmp_path / "pictures" / f"{i}.png", pixels, made)
    return tmp_path


def saved(home: Path, change: Change) -> str:
    weights = weights_of(glow(CONFIG))
    change(weights["levels"]["0"]["steps"])
    save_weights(CONFIG, weights, home / "model", {})
    return str(home / "model")


def encode(home: Path, model: str) -> int:
    words = ["encode", f"{home}/pictures", "--check", "--model", model, "-o", f"{home}/z.npz"]
    return main(words)


def test_an_ill_conditioned_convolution_does_not_give_bytes_back(home: Path, capsys) -> None:
    assert encode(home, saved(home, ill_conditioned)) == 1
    printed = capsys.readouterr().out
    assert "every byte comes back" not in printed
    assert "(some bytes of 3 of 3 images do not come back)" in printed


def test_latents_that_are_not_finite_are_named_and_not_saved(home: Path, capsys) -> None:
    model = saved(home, out_of_range)
    assert encode(home, model) == 2
    printed = capsys.readouterr()
    assert "every byte comes back" not in printed.out
    for i in range(3):
        assert f"skipped: {home}/pictures/{i}.png: its latents are not finite" in printed.err
    assert "none of the latents is finite" in printed.err.splitlines()[-1]
    assert not (home / "z.npz").exists()
    assert main(["sample", "-n", "4", "--model", model, "-o", f"{home}/s.png"]) == 1
    assert "4 samples with non-finite pixels" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["encode", "sample"])
def test_a_singular_convolution_is_refused(home: Path, capsys, verb: str) -> None:
    model = saved(home, singular)
    words = {"encode": ["encode", f"{home}/pictures", "-o", f"{home}/z.npz"]}
    words["sample"] = ["sample", "-o", f"{home}/s.png"]
    assert main([*words[verb], "--model", model]) == 2
    assert "a 1x1 convolution has a singular matrix" in capsys.readouterr().err
    assert main(["info", model]) == 0


def test_one_image_that_decodes_to_nan_makes_the_round_trip_inexact(
    home: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_x = gj.Glow.decode_x

    def spoiled(self: gj.Glow, eps, label=None):
        return decode_x(self, eps, label).at[-1, 0, 0, 0].set(np.nan)

    monkeypatch.setattr(gj.Glow, "decode_x", spoiled)
    assert encode(home, saved(home, lambda step: None)) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"round trip: at most \S+ grey levels off, 1 image not finite "
        r"\(some bytes of 1 of 3 images do not come back\)",
        line,
    )


def test_the_library_saves_no_latents_that_are_not_finite(home: Path) -> None:
    model = gj.load(saved(home, lambda step: None))
    eps = tuple(np.zeros((1, *shape), np.float32) for shape in CONFIG.latent_shapes)
    eps[1][0, 0, 0, 0] = np.inf
    with pytest.raises(gj.InputError, match="eps_1 has non-finite values"):
        gj.save_latents(home / "z.npz", eps, ["a"], model)
    assert not (home / "z.npz").exists()


def test_a_nan_in_a_convolution_is_the_condition_number() -> None:
    model = glow(CONFIG)
    assert np.isfinite(condition_number(model))
    first = model.levels[0].steps.inv_conv
    first.kernel[...] = first.kernel[...].at[0, 0, 0].set(np.nan)
    assert np.isnan(condition_number(nnx.clone(model)))
