"""Conversion of normflows' checkpoints against outputs of normflows itself, without PyTorch.

`tests/support/make_normflows_goldens.py` made the files; `test_normflows.py` compares with the
living code.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import glow_jax
from bench.robustness.files.safetensors_file import write_safetensors
from glow_jax.convert import convert
from glow_jax.io.errors import InputError
from tests.support.normflows import (
    TOLERANCES,
    Golden,
    assert_same_function,
    converted,
    load_golden,
    state_of,
    told,
)
from tests.support.paths import GOLDEN

FILES = sorted(p.name for p in GOLDEN.glob("normflows_*.npz"))


def test_goldens_are_there_and_small() -> None:
    assert len(FILES) == 4
    assert all((GOLDEN / name).stat().st_size < 60_000 for name in FILES)
    assert all("state/q0.0.loc" in load_golden(name) for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_same_function(name: str, tmp_path: Path) -> None:
    golden = load_golden(name)
    source = write_safetensors(tmp_path / "model.safetensors", state_of(golden))
    out = converted(golden, source, tmp_path / "out").path
    for dtype in TOLERANCES:
        assert_same_function(golden, out, dtype)


def test_same_function_folded(tmp_path: Path) -> None:
    """The form that users load: folded, in float32, from bytes and back, with labels."""
    golden = load_golden("normflows_exp_classes_logit.npz")
    source = write_safetensors(tmp_path / "model.safetensors", state_of(golden))
    out = converted(golden, source, tmp_path / "out").path
    model = glow_jax.load(out)
    label = jnp.asarray(golden["label"])
    log_prob = model.log_prob(jnp.asarray(golden["x"], "float32"), label)
    np.testing.assert_allclose(log_prob, golden["log_prob"], rtol=1e-4)
    image = np.clip(np.floor((golden["x"] + 0.5) * 256), 0, 255).astype(np.uint8)
    back = model.decode(model.encode(jnp.asarray(image), label), label)
    np.testing.assert_array_equal(back, image)
    row = jnp.eye(3, dtype="float32")[label]  # attributes, of which a class is one
    np.testing.assert_allclose(model.encode(image, row)[0], model.encode(image, label)[0])


# -- what the file does not tell, or tells otherwise


def refused(golden: Golden, folder: Path, arrays: Golden | None = None, **options: Any) -> str:
    """Convert, expecting one clear line and nothing written; returns the line."""
    arrays = state_of(golden) if arrays is None else arrays
    source = write_safetensors(folder / "model.safetensors", arrays)
    about = told(golden)
    given = {"image_size": tuple(about["image_size"]), "bits": 8, "settings": about["settings"]}
    with pytest.raises(InputError) as caught:
        convert(source, folder / "out", **(given | options))
    message = str(caught.value)
    assert message.isprintable(), message
    assert [p.name for p in folder.iterdir()] == ["model.safetensors"]
    return message


def test_defaults_are_assumed_aloud(tmp_path: Path) -> None:
    golden = load_golden("normflows_default.npz")
    source = write_safetensors(tmp_path / "model.safetensors", state_of(golden))
    made = convert(source, tmp_path / "out", bits=5)  # q0.*.loc tell the size
    assert made.config.image_shape[:2] == tuple(told(golden)["image_size"])
    assert made.config.n_bits == 5
    names = [note.split()[1].split("=")[0] for note in made.notes]
    assert sorted(names) == ["leaky", "scale_map", "split_mode", "transform"]


def test_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    golden = load_golden("normflows_default.npz")
    assert "add `bits` N" in refused(golden, tmp_path, bits=None)
    golden = load_golden("normflows_checkerboard_shift.npz")
    message = refused(golden, tmp_path, bits=None, image_size=None)
    assert "`image_size`" in message and "`bits`" in message


def test_another_image_size_than_the_file_tells(tmp_path: Path) -> None:
    message = refused(load_golden("normflows_default.npz"), tmp_path, image_size=(8, 8))
    assert "`image_size` 8x8, but q0." in message and "8x16" in message


@pytest.mark.parametrize(
    ("name", "told_wrong", "words"),
    [
        ("default", "checkerboard", "add `settings` split_mode=channel"),
        ("checkerboard_shift", "channel_inv", "add `settings` split_mode=checkerboard"),
    ],
)
def test_a_split_mode_that_the_shapes_rule_out(
    tmp_path: Path, name: str, told_wrong: str, words: str
) -> None:
    golden = load_golden(f"normflows_{name}.npz")
    settings = told(golden)["settings"] | {"split_mode": told_wrong}
    assert words in refused(golden, tmp_path, settings=settings)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("scale_map", "tanh", "use sigmoid, sigmoid_inv, exp"),
        ("leaky", "much", "use a number"),
        ("transform", "dequantise", "use none, shift, logit"),
        ("surprise", "1", "its settings: "),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, name: str, value: str, words: str) -> None:
    golden = load_golden("normflows_default.npz")
    message = refused(golden, tmp_path, settings=told(golden)["settings"] | {name: value})
    assert f"`settings` {name}" in message and words in message


def test_a_setting_of_another_coupling_is_unknown(tmp_path: Path) -> None:
    golden = load_golden("normflows_additive_classes.npz")
    settings = told(golden)["settings"] | {"scale_map": "exp"}
    assert "`settings` scale_map: not a setting" in refused(golden, tmp_path, settings=settings)


def test_parts_that_are_missing_or_too_many(tmp_path: Path) -> None:
    golden = load_golden("normflows_default.npz")
    whole = state_of(golden)
    stem = "flows.0.0.flows"
    for gone, words in {
        rf"{stem}.1.P": f"missing {stem}.1.P",
        rf"{stem}.2.t": f"missing {stem}.2.t",
        "q0.0.log_scale": "missing q0.0.log_scale",
        "q0.1.loc": "q0.1.loc is missing",
    }.items():
        assert words in refused(golden, tmp_path, {k: v for k, v in whole.items() if k != gone})
    without_step = {k: v for k, v in whole.items() if not k.startswith("flows.1.0.")}
    assert "missing" in refused(golden, tmp_path, without_step)
    without_level = {k: v for k, v in whole.items() if not k.startswith("flows.1.")}
    assert "missing" in refused(golden, tmp_path, without_level)
    extra = whole | {f"{stem}.3.weight": np.zeros(2, np.float32)}
    assert f"unexpected {stem}.3.weight" in refused(golden, tmp_path, extra)


def test_bases_of_different_numbers_of_classes(tmp_path: Path) -> None:
    golden = load_golden("normflows_additive_classes.npz")
    state = state_of(golden)
    for name in ("q0.0.loc", "q0.0.log_scale"):
        state[name] = state[name][..., :2]
    assert "[2, 3] classes" in refused(golden, tmp_path, state)
