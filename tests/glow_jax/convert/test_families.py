"""Converted checkpoints against the codes that they come from (tests/support/foreign.py).

Source: the repositories that tests/support/foreign.py names, by their formulas alone.
"""

import functools
import itertools
import json
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import glow_jax
from glow_jax import convert as conversion
from glow_jax.checkpoints import from_weights
from glow_jax.convert import Conversion, convert
from glow_jax.convert.openai import openai
from glow_jax.convert.options import Options
from glow_jax.convert.selfcheck import SelfCheck, self_check
from glow_jax.io.errors import InputError
from glow_jax.model import Glow
from tests.support.foreign import (
    FAMILIES,
    Arrays,
    Variant,
    encode,
    our_log_prob,
    state_dict,
    write_safetensors,
    x_flow_of,
)

Load = Callable[[str, bool], Glow]

pytestmark = pytest.mark.usefixtures("no_self_check")

SMALL: dict[str, Any] = {}
TALL: dict[str, Any] = {"height": 16, "n_levels": 3, "n_steps": 1, "hidden": 7, "channels": 1}
FLAT: dict[str, Any] = {"width": 16, "n_levels": 1, "n_steps": 3}
PYTORCH = tuple(f for f in FAMILIES if f != "openai")

# Every permutation and every other value once: (which permutation, the rest).
EACH: list[tuple[int, dict[str, Any]]] = [
    (0, {"coupling": "affine", **SMALL}),
    (1, {"coupling": "additive", "learn_top": False, "n_classes": 3, **TALL}),
    (2, {"coupling": "affine", "n_classes": 3, **FLAT}),
]
BOTH = (True, False)
CHOICES: dict[str, dict[str, tuple]] = {
    "openai": {
        "permutation": ("plain", "reverse", "shuffle"),
        "learn_top": BOTH,
        "n_classes": (0, 3),
    },
    "rosinality": {"permutation": ("plain", "lu")},
    "chaiyujin": {
        "permutation": ("plain", "reverse", "lu"),
        "learn_top": BOTH,
        "n_classes": (0, 3),
    },
    "y0ast": {"permutation": ("plain", "reverse", "lu"), "learn_top": BOTH, "n_classes": (0, 3)},
    "corenel": {"permutation": ("plain", "reverse"), "learn_top": BOTH, "n_classes": (0, 3)},
    "pclucas14": {"permutation": ("plain", "reverse", "shuffle"), "learn_top": BOTH},
    "kamen": {"permutation": ("plain", "lu")},
    "glowip": {"last_zeros": BOTH, "coupling_bias": (0.0, 0.25)},
    "chrischute": {},
}
AFFINE_ONLY = ("kamen", "chrischute")
WITH_LU = ("rosinality", "chaiyujin", "y0ast", "kamen")


def chosen_variants(family: str) -> list[Variant]:
    """`EACH` for a family, as far as it has those choices."""
    choices = CHOICES[family]
    permutations = choices["permutation"]
    made = []
    for i, fields in EACH:
        if i < len(permutations):
            given = dict(fields) if "n_classes" in choices else {**fields, "n_classes": 0}
            made.append(Variant(family, permutation=permutations[i], **given))
    return made


def every_variant() -> list[Variant]:
    """The Cartesian product of each family's choices and three geometries."""
    made = []
    for geometry, family in itertools.product((SMALL, TALL, FLAT), FAMILIES):
        choices = dict(CHOICES[family])
        if family not in AFFINE_ONLY:
            choices["coupling"] = ("affine", "additive")
        for values in itertools.product(*choices.values()):
            given = dict(zip(choices, values, strict=True))
            made.append(Variant(family, **geometry, **given))
    return made


FAST = [
    *chosen_variants("openai"),
    Variant("rosinality", permutation="lu", **TALL),
    Variant("rosinality", coupling="additive", **FLAT),
    *chosen_variants("chaiyujin"),
    *chosen_variants("y0ast"),
    *chosen_variants("corenel"),
    *chosen_variants("pclucas14"),
    Variant("kamen", permutation="lu", **TALL),
    Variant("glowip", last_zeros=False, coupling_bias=0.25, **TALL),
    Variant("glowip", coupling="additive", **FLAT),
    Variant("chrischute", **TALL),
]


@pytest.fixture
def no_self_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """It compiles, for seconds, what is compared here anyway."""
    passed = SelfCheck(0.0, 0.0, 0, 0.0, 1.0, "")
    monkeypatch.setattr(conversion, "self_check", lambda *_: passed)


def settings(v: Variant) -> dict[str, str]:
    """What no file of the family tells."""
    if v.family == "glowip" and v.affine:
        return {"last_zeros": str(v.last_zeros).lower(), "coupling_bias": str(v.coupling_bias)}
    if v.family in ("chaiyujin", "y0ast", "corenel") and v.permutation == "reverse":
        return {"permutation": "reverse"}
    return {}


def converted(v: Variant, arrays: Mapping[str, np.ndarray], folder: Path) -> Conversion:
    """A state_dict, written to a file and converted."""
    write_safetensors(folder / "model.safetensors", arrays)
    return convert(
        folder / "model.safetensors",
        folder / "model",
        image_size=(v.height, v.width),
        bits=8,
        settings=settings(v),
    )


def of_openai(v: Variant, arrays: Arrays, ema: bool = False) -> tuple[Any, Any]:
    """The config and weights of openai's variables."""
    options = Options((v.height, v.width), 8, ema=ema)
    source, parts = openai(arrays, options)
    options.check()
    source.finish()
    return parts.config(), parts.weights()


def loader(v: Variant, arrays: Arrays, folder: Path) -> Load:
    """A function that loads the converted model in a type, folded or not."""
    if v.family == "openai":
        config, weights = of_openai(v, arrays)

        def load(dtype: str, fold: bool) -> Glow:
            model = from_weights(config, weights, jnp.dtype(dtype))
            return model.fold() if fold else model

        return load
    path = converted(v, arrays, folder).path
    return lambda dtype, fold: glow_jax.load(path, fold=fold, dtype=jnp.dtype(dtype))


# -- the same numbers


@functools.partial(jax.jit, static_argnums=0)
def observed(graph: Any, state: Any, x: Any, noise: Any, label: Any) -> tuple:
    """z, eps and log p(x) of x; x decoded again, then what noise decodes to."""
    model = nnx.merge(graph, state)
    z, _ = model.forward(x)
    eps = model.encode_x(x, label)
    both = tuple(jnp.concatenate(pair) for pair in zip(eps, noise, strict=True))
    labels = None if label is None else jnp.concatenate([label, label])
    back, drawn = jnp.split(model.decode_x(both, labels), 2)
    return z, eps, model.log_prob(x, label), back, drawn


def errors(v: Variant, folder: Path, folded: bool = True) -> dict[str, float]:
    """The largest difference from the original, relative to the largest value.

    In float64, and if `folded`, in float32 and the inference form too.
    """
    arrays = state_dict(v, seed=zlib.crc32(str(v).encode()))
    rng = np.random.default_rng(1)
    x = rng.uniform(-0.5, 0.5, (2, v.height, v.width, v.channels))
    label = np.array([v.n_classes - 1, 0]) if v.n_classes else None
    want = encode(v, arrays, x_flow_of(v, x), label)
    noise = [rng.standard_normal(z.shape) for z in want.z]
    load = loader(v, arrays, folder)
    found = {}
    for dtype, fold in (("float64", False), ("float32", True))[: 1 + folded]:
        with jax.enable_x64(dtype == "float64"):
            model = load(dtype, fold)
            model.name = model.fingerprint = ""  # or equal configs would compile anew
            given = jax.tree.map(lambda a, t=dtype: jnp.asarray(a, t), (x, tuple(noise)))
            labels = None if label is None else jnp.asarray(label, jnp.int32)
            got = jax.tree.map(np.asarray, observed(*nnx.split(model), *given, labels))
        z, eps, log_prob, back, drawn = got
        drawn = encode(v, arrays, x_flow_of(v, drawn.astype(np.float64)), label)
        pairs = {
            "z": (z, want.z),
            "eps": (eps, want.eps),
            "log_prob": ([log_prob], [our_log_prob(v, want.log_prob)]),
            "decoded": ([back], [x]),
            "drawn": (drawn.eps, noise),
        }
        for name, (ours, theirs) in pairs.items():
            each = [relative(a, b) for a, b in zip(ours, theirs, strict=True)]
            found[f"{name} {dtype}"] = max(each)
    return found


def relative(got: np.ndarray, want: np.ndarray) -> float:
    assert got.shape == want.shape
    return float(np.abs(got - want).max() / np.abs(want).max())


def check_same_numbers(v: Variant, folder: Path, folded: bool = True) -> None:
    for name, error in errors(v, folder, folded).items():
        bound = 1e-9 if name.endswith("float64") else 1e-4
        assert error < bound, f"{name} is off by {error:.1e}"


@pytest.mark.parametrize("v", FAST, ids=str)
def test_same_numbers(v: Variant, tmp_path: Path) -> None:
    """z, eps, log p(x) and both ways back, in float64."""
    check_same_numbers(v, tmp_path, folded=False)


@pytest.mark.slow
@pytest.mark.parametrize("v", every_variant(), ids=str)
def test_same_numbers_of_every_variant(v: Variant, tmp_path: Path) -> None:
    """The same for all of them, and folded in float32."""
    check_same_numbers(v, tmp_path)


# -- what else a file may hold


@pytest.mark.parametrize("family", PYTORCH)
def test_prefix_of_data_parallel_changes_nothing(family: str, tmp_path: Path) -> None:
    v = Variant(family)
    arrays = state_dict(v)
    models = []
    for prefix in ("", "module."):
        folder = tmp_path / f"with{prefix}"
        folder.mkdir()
        path = converted(v, {prefix + k: a for k, a in arrays.items()}, folder).path
        models.append(glow_jax.load(path, fold=False).fingerprint)
    assert models[0] == models[1]


def test_openai_averages_and_optimiser_slots() -> None:
    """Raw variables count, or their averages where asked; `Variable*` never does."""
    v = Variant("openai", n_classes=3)
    raw, averaged = state_dict(v, seed=1), state_dict(v, seed=2)
    slots = {"Variable": np.float32(7)} | {
        f"Variable_{i}": a + np.float32(1) for i, a in enumerate(raw.values(), 1)
    }
    file = raw | {f"{k}/ExponentialMovingAverage": a for k, a in averaged.items()} | slots
    for ema, meant in ((False, raw), (True, averaged)):
        got, want = of_openai(v, file, ema)[1], of_openai(v, meant)[1]
        jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.parametrize("bound", [0.9, 0.8])
def test_chrischute_bounds_are_read(bound: float, tmp_path: Path) -> None:
    arrays = state_dict(Variant("chrischute")) | {"bounds": np.array([bound], np.float32)}
    config = converted(Variant("chrischute"), arrays, tmp_path).config
    assert config.logit_alpha == (1 - float(np.float32(bound))) / 2


def test_chrischute_bounds_of_one_is_still_a_logit(tmp_path: Path) -> None:
    arrays = state_dict(Variant("chrischute")) | {"bounds": np.ones(1, np.float32)}
    with pytest.raises(InputError, match="bounds"):
        converted(Variant("chrischute"), arrays, tmp_path)


@pytest.mark.parametrize("coupling", ["affine", "additive"])
def test_glowip_with_the_configs_that_its_training_writes(coupling: str, tmp_path: Path) -> None:
    v = Variant("glowip", coupling=coupling)
    told = {"K": 2, "L": 2, "coupling": coupling, "last_zeros": True, "batchsize": 3, "size": 8}
    told |= {"lr": 1e-4, "n_bits_x": 5, "warmup_iter": 10}
    (tmp_path / "configs.json").write_text(json.dumps(told))
    write_safetensors(tmp_path / "model.safetensors", state_dict(v))
    config = convert(tmp_path / "model.safetensors", tmp_path / "model").config
    assert (config.image_height, config.n_bits, config.coupling) == (8, 5, coupling)


# -- damage

# One weight a family, and a step, by name: of the second of three steps of the finest level.
WEIGHT = {
    "openai": "model/0/1/f1/l_2/actnorm_center/b",
    "rosinality": "blocks.0.flows.1.coupling.net.2.bias",
    "chaiyujin": "flow.layers.2.f.2.actnorm.bias",
    "y0ast": "flow.layers.2.block.2.actnorm.bias",
    "corenel": "flow.layers.2.f.2.actnorm.bias",
    "pclucas14": "layers.6.NN.2.actnorm.b",
    "kamen": "flowlevels.0.flowsteps.1.2.actnorm2.bias",
    "glowip": "glow_modules.2.coupling.net.conv2.bias",
    "chrischute": "flows.steps.1.coup.nn.mid_norm.bias",
}
# Names that the original's code does not need, or that are no part of the flow.
SPARE = re.compile(
    r".*(initialized|_mask|l_eye|num_batches_tracked|rev_indices|indices_inverse)"
    r"|base_dist_(mean|var)|bounds|model/classifier/.*|(project_class|classifier)\..*|y0ast.prior_h"
)


def without(arrays: Arrays, *patterns: str) -> Arrays:
    """The arrays whose names match none of the patterns."""
    left = {k: a for k, a in arrays.items() if not any(re.fullmatch(p, k) for p in patterns)}
    assert len(left) < len(arrays)
    return left


def refused(v: Variant, arrays: Mapping[str, np.ndarray], folder: Path) -> str:
    """The message of the InputError that converting raises; nothing may be left behind."""
    if v.family == "openai":
        with pytest.raises(InputError) as error:
            of_openai(v, dict(arrays))
        return str(error.value)
    with pytest.raises(InputError) as error:
        converted(v, arrays, folder)
    assert [p.name for p in folder.iterdir()] == ["model.safetensors"]
    return str(error.value)


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "NaN"])
@pytest.mark.parametrize("family", FAMILIES)
def test_damage_is_named(family: str, damage: str, tmp_path: Path) -> None:
    v = Variant(family, n_steps=3)
    arrays = state_dict(v)
    name = WEIGHT[family]
    if damage == "missing":
        del arrays[name]
    elif damage == "extra":
        name += "_extra"
        arrays[name] = np.ones(3, np.float32)
    elif damage == "shape":
        arrays[name] = np.concatenate([arrays[name], arrays[name]], axis=-1)
    else:
        arrays[name] = arrays[name].copy()
        arrays[name].flat[1] = np.nan
    assert name in refused(v, arrays, tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_is_needed(family: str, tmp_path: Path) -> None:
    """Without any one of them, or with a NaN in it, nothing is converted."""
    v = Variant(family, n_steps=1, permutation="lu" if family in WITH_LU else "plain")
    arrays = state_dict(v)
    for name, array in arrays.items():
        if SPARE.fullmatch(name) or SPARE.fullmatch(f"{family}.{name}"):
            continue
        refused(v, without(arrays, re.escape(name)), tmp_path)
        if array.dtype == np.float32:
            refused(v, {**arrays, name: np.full_like(array, np.nan)}, tmp_path)


def step_of(v: Variant, level: int, step: int) -> str:
    """A regular expression for the names of a step's arrays."""
    layer = level * (v.n_steps + 2) + 1 + step
    first = level * (3 * v.n_steps + 2) + 1 + 3 * step
    last = level == v.n_levels - 1
    return {
        "openai": rf"model/{level}/{step}/.*",
        "rosinality": rf"blocks\.{level}\.flows\.{step}\..*",
        "pclucas14": rf"layers\.({first}|{first + 1}|{first + 2})\..*",
        "kamen": rf"flowstep\.{step}\..*"
        if last
        else rf"flowlevels\.{level}\.flowsteps\.{step}\..*",
        "glowip": rf"glow_modules\.{layer}\..*",
        "chrischute": rf"flows\.{'next.' * level}steps\.{step}\..*",
    }.get(v.family, rf"flow\.layers\.{layer}\..*")


def last_level_of(v: Variant) -> list[str]:
    """Regular expressions for the names of the coarsest level's arrays, its prior included."""
    steps = [step_of(v, v.n_levels - 1, k) for k in range(v.n_steps)]
    return [*steps, rf"blocks\.{v.n_levels - 1}\.prior\..*"]


@pytest.mark.parametrize("learn_top", [True, False])
# Nothing in chrischute's file tells: its last level is like any other, and it has no prior.
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "chrischute"])
def test_last_level_missing(family: str, learn_top: bool, tmp_path: Path) -> None:
    v = Variant(family, n_levels=3, n_steps=3, learn_top=learn_top)
    refused(v, without(state_dict(v), *last_level_of(v)), tmp_path)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_middle_step_missing(family: str, level: int, tmp_path: Path) -> None:
    v = Variant(family, n_levels=3, n_steps=3)
    refused(v, without(state_dict(v), step_of(v, level, 1)), tmp_path)


UNEVEN = [
    ("openai", 0),
    ("openai", 1),
    ("rosinality", 0),
    ("rosinality", 1),
    ("chaiyujin", 1),
    ("y0ast", 1),
    ("corenel", 1),
    ("pclucas14", 1),
    ("kamen", 0),
    ("kamen", 1),
    ("chrischute", 0),
    ("chrischute", 1),
]


@pytest.mark.parametrize(("family", "level"), UNEVEN)
def test_last_step_of_one_level_missing(family: str, level: int, tmp_path: Path) -> None:
    """No code but GlowIP's makes levels of unequal depth."""
    v = Variant(family, n_steps=2, learn_top=False)
    refused(v, without(state_dict(v), step_of(v, level, 1)), tmp_path)


@pytest.mark.parametrize(
    ("family", "prior"), [("chaiyujin", "prior_h"), ("y0ast", "prior_h"), ("corenel", "h_top")]
)
def test_prior_of_another_level(family: str, prior: str, tmp_path: Path) -> None:
    """The file ends after the first level's steps; the prior's channels are the second's."""
    v = Variant(family, learn_top=False)
    arrays = without(state_dict(v), r"flow\.layers\.([3-9])\..*")
    assert arrays[prior].shape[1] == 2 * 24
    arrays[prior] = np.zeros((1, 48, 4, 4), np.float32)
    assert prior in refused(v, arrays, tmp_path)


@pytest.mark.parametrize("family", ["openai", "chaiyujin", "y0ast", "corenel", "pclucas14"])
@pytest.mark.parametrize("n_steps", [1, 2])
def test_a_step_without_its_permutation(
    family: str, n_steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be a reversal among 1x1 convolutions, which no code makes."""
    monkeypatch.setattr(conversion, "self_check", self_check)
    v = Variant(family, n_steps=n_steps)
    name = {"openai": r"model/0/0/invconv/W", "pclucas14": r"layers\.2\.weight"}
    arrays = without(state_dict(v), name.get(family, r"flow\.layers\.1\.invconv\.weight"))
    if family == "openai":
        refused(v, arrays, tmp_path)
        return
    write_safetensors(tmp_path / "model.safetensors", arrays)
    with pytest.raises(InputError):
        convert(
            tmp_path / "model.safetensors",
            tmp_path / "model",
            image_size=(8, 8),
            bits=8,
            settings={"permutation": "reverse"},
        )


def test_a_step_without_its_shuffle(tmp_path: Path) -> None:
    """Of a shuffling model, whose other steps have their indices."""
    v = Variant("openai", permutation="shuffle")
    refused(v, without(state_dict(v), r"model/0/0/shuffle/.*"), tmp_path)
