"""Converted checkpoints against the original codes' own outputs (golden/foreign/README.md)."""

import functools
import lzma
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import glow_jax as gj
from glow_jax.convert import convert
from glow_jax.convert.blob import mapped
from glow_jax.convert.graph import read_graph
from glow_jax.convert.openai_graph import graph_model
from glow_jax.convert.options import Options
from glow_jax.graph_model import GraphConfig, GraphGlow
from glow_jax.layers import unsqueeze
from glow_jax.model import Glow, flatten, unflatten
from tests.support.paths import FOREIGN

EXACT = 1e-12  # relative, float64; asked for: 1e-9
SINGLE = 1e-4


class Case(NamedTuple):
    """A checkpoint, what its file does not tell, and its conventions in terms of ours.

    Attributes:
        file: the compressed checkpoint.
        answers: keyword arguments of `convert`.
        x: the flow's input there to our x.
        bits: that code's `bpd` of our bits/dim.
    """

    file: str
    answers: dict[str, Any]
    x: Callable[[np.ndarray], np.ndarray] = lambda x: x
    bits: Callable[[np.ndarray], np.ndarray] = lambda bits: bits


def _from_255(x: np.ndarray) -> np.ndarray:
    """u8 / 255, there, as u8 / 256 - 0.5."""
    return x * 255 / 256 - 0.5


WIDER = math.log2(256 / 255)  # bits/dim: their bins are 1/255 wide and counted as 1/256
SIZE = {"image_size": (32, 32)}
CASES = {
    # Per pixel, with log 256 counted once a pixel and not once a dimension.
    "chaiyujin": Case("chaiyujin.pkg", {}, _from_255, lambda b: 3 * (b + WIDER - 8) + 8),
    "chrischute": Case("chrischute.pth.tar", SIZE),
    "corenel": Case("corenel.pth", {"bits": 8}, _from_255, lambda b: b + WIDER),
    # log 256 is counted whatever the bits are.
    "glowip": Case("glowip.pt", {}, bits=lambda b: b + 3),
    "kamen": Case("kamen.pt", SIZE | {"bits": 5}, lambda x: x - 0.5, lambda b: b + 3),
    "pclucas14": Case("pclucas14.pth", SIZE, _from_255, lambda b: b + WIDER),
    "rosinality": Case("rosinality.legacy-cuda.pt", SIZE | {"bits": 5}),
    "y0ast": Case("y0ast.pth", {}),
}


def unpacked(name: str, folder: Path) -> Path:
    """A golden checkpoint as its code wrote it, with the files that it wrote beside."""
    path = folder / name
    path.write_bytes(lzma.decompress((FOREIGN / f"{name}.xz").read_bytes()))
    configs = FOREIGN / f"{name.split('.')[0]}_configs.json"
    if configs.is_file():
        shutil.copy(configs, folder / "configs.json")
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The model directory of a case, converted once."""

    @functools.cache
    def of(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        case = CASES[name]
        made = convert(unpacked(case.file, folder), folder / "model", **case.answers)
        assert made.format == name
        assert made.check.warnings() == []
        return made.path

    return of


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, -1)


@functools.partial(jax.jit, static_argnums=0)
def evaluated(graph: Any, state: Any, x: jax.Array, given: Any) -> dict[str, Any]:
    model: Glow = nnx.merge(graph, state)
    return {
        "z": model.forward(x)[0],
        "eps": model.encode_x(x),
        "bits": model.config.n_bits - model.log_prob(x) / (math.log(2) * model.config.n_dims),
        "x": model.decode_x(given),
    }


def close(got: Any, want: np.ndarray, tolerance: float) -> None:
    got = np.asarray(got, np.float64)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


def theirs(name: str, case: Case) -> dict[str, Any]:
    """The original's numbers in our layout: x, z, eps, bits, and eps to decode with its x."""
    with np.load(FOREIGN / f"{name}.npz") as arrays:
        a = dict(arrays)
    if name == "chrischute":
        return _chrischute(a)
    z = [nhwc(a[f"z_raw_{i}"]) for i in range(3)]
    return {
        "x": case.x(nhwc(a["x_flow"])),
        "z": z,
        "eps": [nhwc(a[f"eps_{i}"]) for i in range(3)] if "eps_0" in a else z,
        "bits": a["bpd"],
        "given": [nhwc(a[f"dec_eps_{i}"]) for i in range(3)],
        "decoded": case.x(nhwc(a["dec_x"])),
    }


def _chrischute(a: dict[str, np.ndarray]) -> dict[str, Any]:
    """Pixels go through a logit; a latent is packed into one image; 0.9 is never undone."""

    def levels(z: list[np.ndarray]) -> list[np.ndarray]:
        fine = [np.asarray(unsqueeze(jnp.asarray(nhwc(part)))) for part in z[:2]]
        return [*fine, nhwc(z[2])]

    def squeezed(x: np.ndarray) -> np.ndarray:
        n, c, h, w = x.shape
        return (
            x.reshape(n, c, h // 2, 2, w // 2, 2)
            .transpose(0, 1, 3, 5, 2, 4)
            .reshape(n, 4 * c, h // 2, w // 2)
        )

    z = levels([a[f"z_raw_{i}"] for i in range(3)])
    # Unpack one image-shaped latent as its levels: squeeze, squeeze, halve, and again.
    packed, given = squeezed(a["dec_z"].astype(np.float64)), []
    for _ in range(2):
        packed = squeezed(packed)
        half = packed.shape[1] // 2
        given.append(packed[:, half:])
        packed = packed[:, :half]
    bound = float(np.float32(0.9))
    x = (1 / (1 + np.exp(-nhwc(a["x_logit"]))) - 0.5) / bound
    close(x, (a["image_uint8"] + nhwc(a["noise"])) / 256 - 0.5, 1e-6)  # float32 there
    return {
        "x": x,
        "z": z,
        "eps": z,
        "bits": a["bpd"],
        "given": [g.astype(np.float32) for g in levels([*given, packed])],
        "decoded": (nhwc(a["dec_x"]) - 0.5) / bound,
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("dtype", "fold", "tolerance"),
    [
        pytest.param(jnp.float64, False, EXACT, id="float64"),
        pytest.param(jnp.float32, True, SINGLE, id="float32, folded", marks=pytest.mark.slow),
    ],
)
def test_every_number_is_the_originals(
    name: str, dtype: Any, fold: bool, tolerance: float, converted: Callable[[str], Path]
) -> None:
    """Latents, likelihood and decoded pixels."""
    case, path = CASES[name], converted(name)
    with jax.enable_x64(True):
        want = theirs(name, case)
        model = gj.load(path, fold=fold, dtype=dtype)
        given = tuple(jnp.asarray(a, dtype) for a in want["given"])
        got = evaluated(*nnx.split(model), jnp.asarray(want["x"], dtype), given)
        for i in range(3):
            close(got["z"][i], want["z"][i], tolerance)
            close(got["eps"][i], want["eps"][i], tolerance)
        close(case.bits(np.asarray(got["bits"], np.float64)), want["bits"], tolerance)
        close(got["x"], want["decoded"], tolerance)


@pytest.mark.parametrize("name", CASES)
def test_card_tells_where_it_came_from(name: str, converted: Callable[[str], Path]) -> None:
    card = gj.checkpoints.read_card(converted(name))
    assert card["format"] == name
    assert list(card["source_sha256"]) == [CASES[name].file]
    assert card["licence"].startswith("unknown")
    assert card["self_check"]["round_trip_max"] < 0.01
    assert card["self_check"]["non_finite"] == 0


GRAPHS = {
    "demo, constants folded": ("openai_demo_folded.pb", "openai_add_invconv_5bit.npz"),
    "affine": ("openai_affine_graph.pb", "openai_aff_invconv_8bit.npz"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_frozen_graph_gives_the_numbers_of_its_model(name: str, tmp_path: Path) -> None:
    """Against what TensorFlow computed with it, in float32."""
    file, golden = GRAPHS[name]
    made = convert(unpacked(file, tmp_path), tmp_path / "model")
    assert made.format == "openai-graph"
    with np.load(FOREIGN.parent / golden) as arrays:
        a = dict(arrays)
    n_bits = made.config.n_bits
    x = np.floor(a["x"] / 2.0 ** (8 - n_bits)) / 2**n_bits - 0.5 + a["noise_rand"]
    with jax.enable_x64(True):
        model = gj.load(made.path, fold=False, dtype=jnp.float64)
        given = unflatten(jnp.asarray(a["random_feps"], jnp.float64), model)
        got = evaluated(*nnx.split(model), jnp.asarray(x), given)
        close(flatten(got["eps"]), a["rand_feps"].astype(np.float64), 3e-6)
        close(got["bits"], a["rand_bits_x"].astype(np.float64), 1e-6)
        close(got["x"], a["random_dec_float"].astype(np.float64), 1e-5)


@pytest.fixture
def tanh_graph(tmp_path: Path) -> Path:
    """The demo's graph with every ReLU a tanh: still invertible, and no canonical Glow."""
    path = unpacked("openai_demo_folded.pb", tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\x12\x04Relu", b"\x12\x04Tanh"))
    return path


def test_a_graph_that_is_no_canonical_glow_runs_its_own_operations(tanh_graph: Path) -> None:
    made = convert(tanh_graph, tanh_graph.with_name("model"))
    assert isinstance(made.config, GraphConfig)
    assert any("no ReLU after a hidden convolution" in note for note in made.notes)
    assert made.check.round_trip_max < 1e-3
    model: Any = gj.load(made.path)
    assert isinstance(model, GraphGlow)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)
    assert np.isnan(model.bits_per_dim(images)).all()
    with pytest.raises(gj.InputError, match="precision exact only"):
        gj.load(made.path, precision="fast")


def test_a_graphs_own_operations_give_tensorflows_numbers(tmp_path: Path) -> None:
    """The fallback on a graph that does not need it."""
    nodes = read_graph(mapped(unpacked("openai_demo_folded.pb", tmp_path)))
    model = graph_model(nodes, Options())
    with np.load(FOREIGN / "openai_demo.npz") as arrays:
        a = dict(arrays)
    x = np.floor(a["x"] / 8.0) / 32 - 0.5 + a["noise_rand"]
    close(flatten(model.encode_x(jnp.asarray(x, jnp.float32))), a["rand_feps"], 1e-5)
    ends = np.cumsum([math.prod(s) for s in model.config.latent_shapes])[:-1]
    shaped = zip(np.split(a["random_feps"], ends, axis=1), model.config.latent_shapes, strict=True)
    close(model.decode_x(tuple(p.reshape(-1, *s) for p, s in shaped)), a["random_dec_float"], 1e-5)


@pytest.mark.parametrize("name", ["program.json", "constants.npz", "card.json", "files.json"])
def test_a_damaged_graph_model_is_refused(name: str, tanh_graph: Path) -> None:
    path = convert(tanh_graph, tanh_graph.with_name("model")).path
    (path / name).write_bytes((path / name).read_bytes()[:-40])
    read: Any = gj.checkpoints.read_card if name == "card.json" else gj.load
    with pytest.raises(gj.InputError, match="model: not a whole checkpoint"):
        read(path)
