"""Exported models: the same function as the model, for any batch, and what is refused."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import glow_jax as gj
from glow_jax import exported
from glow_jax.checkpoints import save_graph
from glow_jax.cli.main import main
from glow_jax.coupling_network import STRIP_ELEMENTS, _strips
from glow_jax.graph_model import GraphConfig, GraphGlow
from glow_jax.program import Instruction, Program
from tests.support.command_line import fails
from tests.support.models import glow, random_images

CONFIG = gj.GlowConfig(8, 8, n_levels=2, n_steps=2, hidden_width=8, coupling="affine", n_bits=5)
CARD = {"origin": "a test", "licence": "CC0-1.0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and its exported file, for the CPU alone and for every platform."""
    root = tmp_path_factory.mktemp("exported")
    gj.save(glow(CONFIG), root / "model", CARD)
    gj.export_model(root / "model", root / "model.npz", platforms=["cpu"])
    return root


@pytest.fixture
def file(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of an exported file."""
    with np.load(folder / "model.npz") as arrays:
        return dict(arrays)


def test_any_batch_gives_what_the_model_gives(folder: Path) -> None:
    model, served = gj.load(folder / "model"), gj.load_exported(folder / "model.npz")
    for n in (1, 3):
        images = random_images(CONFIG, n, seed=n)
        eps = model.encode(images)
        for ours, theirs in zip(served.encode(images), eps, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        far = tuple(3 * a for a in eps)
        np.testing.assert_array_equal(served.decode(eps), images)
        np.testing.assert_array_equal(served.decode(far), model.decode(far))


def test_the_file_says_what_it_came_from(folder: Path) -> None:
    model, served = gj.load(folder / "model"), gj.load_exported(folder / "model.npz")
    assert served.fingerprint == model.fingerprint
    assert (served.name, served.precision, served.platform) == ("model", "exact", "cpu")
    assert served.card == CARD
    assert served.made_with["jax"] == jax.__version__
    assert (served.image_shape, served.latent_shapes) == (
        CONFIG.image_shape,
        CONFIG.latent_shapes,
    )
    assert (served.n_bits, served.n_classes) == (5, 0)


def test_labels_choose_the_prior(tmp_path: Path) -> None:
    config = gj.GlowConfig(4, 4, n_levels=1, n_steps=1, hidden_width=4, n_classes=3)
    gj.save(glow(config), tmp_path / "model", CARD)
    gj.export_model(tmp_path / "model", tmp_path / "m.npz", platforms=["cpu"])
    model, served = gj.load(tmp_path / "model"), gj.load_exported(tmp_path / "m.npz")
    images, label = random_images(config), np.array([2, 0], np.int32)
    (eps,) = served.encode(images, label)
    np.testing.assert_allclose(eps, model.encode(images, jnp.asarray(label))[0], atol=1e-5)
    assert np.abs(eps - served.encode(images, label[::-1])[0]).max() > 0.01
    np.testing.assert_array_equal(served.decode((eps,), label), images)
    with pytest.raises(ValueError, match="one whole number an image"):
        served.encode(images)


def test_a_graph_is_exported_too(tmp_path: Path) -> None:
    config = GraphConfig(4, 4, 2, ((4, 4, 2),), n_bits=8)
    shape = (1, 4, 4, 2)
    doubled = Instruction("Mul", (("value", 0), ("constant", 0)), shape, None)
    halved = Instruction("Mul", (("value", 0), ("constant", 1)), shape, None)
    given = Instruction("input", (), shape, None)
    encoder, decoder = (Program((given, i), (0,), (1,)) for i in (doubled, halved))
    factors = [np.full((1, 1, 1, 2), f, np.float32) for f in (2, 0.5)]
    graph = GraphGlow(config, encoder, decoder, factors)
    save_graph(graph, tmp_path / "graph", CARD)
    gj.export_model(tmp_path / "graph", tmp_path / "g.npz", platforms=["cpu"])
    served = gj.load_exported(tmp_path / "g.npz")
    images = random_images(config, 3)
    eps = graph.encode(images)
    for ours, theirs in zip(served.encode(images), eps, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_array_equal(served.decode(eps), graph.decode(eps))


def test_one_command_makes_programs_for_devices_that_are_not_here(
    folder: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "m.npz"
    words = ["export", str(folder / "model"), "-o", str(out), "--platforms", "cuda", "tpu"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "model for cuda, tpu" in printed
    assert "CC0-1.0" in printed
    with np.load(out) as arrays:
        for platform in ("cuda", "tpu"):
            program = jax.export.deserialize(bytearray(arrays[f"decode.{platform}"].tobytes()))
            assert program.platforms == (platform,)
            text = program.mlir_module()  # each platform's form of the coupling networks
            assert ("stablehlo.convolution" in text) == (platform == "tpu")
    with pytest.raises(gj.InputError, match=r"m\.npz: it has programs for cuda, tpu, but none for"):
        gj.load_exported(out)


def test_a_symbolic_batch_has_strips_of_one_image_each() -> None:
    (b,) = jax.export.symbolic_shape("b")
    width = 512
    assert _strips(b, STRIP_ELEMENTS // width // 8, width, "cpu") == 1
    assert _strips(b, 2 * STRIP_ELEMENTS // width, width, "cpu") == 2 * b
    assert _strips(b, 2 * STRIP_ELEMENTS // width, width, "tpu") == 1
    assert _strips(4, 2 * STRIP_ELEMENTS // width, width, "cpu") == 8


def test_other_arrays_are_refused(folder: Path) -> None:
    served = gj.load_exported(folder / "model.npz")
    images = random_images(CONFIG)
    eps = served.encode(images)
    with pytest.raises(ValueError, match=r"need uint8 \(B, 8, 8, 3\)"):
        served.encode(images[:, :4])
    with pytest.raises(ValueError, match="need float32 of shapes"):
        served.decode(eps[:1])
    with pytest.raises(ValueError, match="the model has no classes"):
        served.encode(images, np.zeros(2, np.int32))


# -- files that were not made by `export_model`


def program_of(function: Callable[..., Any], like: np.ndarray, *unchecked: str) -> np.ndarray:
    """Another program for the same arguments as an exported one."""
    given = jax.export.deserialize(bytearray(like.tobytes()))
    args, _ = jax.tree.unflatten(given.in_tree, given.in_avals)
    checks = [jax.export.DisabledSafetyCheck.custom_call(name) for name in unchecked]
    made = jax.export.export(jax.jit(function), platforms=["cpu"], disabled_checks=checks)(*args)
    return np.frombuffer(made.serialize(), np.uint8)


def calls_a_library(weights: Any, images: Any) -> Any:
    number = jax.ffi.ffi_call(TARGET, jax.ShapeDtypeStruct((), jnp.float32))()
    n = images.shape[0]
    return tuple(jnp.full((n, *shape), 1.0) * number for shape in CONFIG.latent_shapes)


def gives_one_latent(weights: Any, images: Any) -> Any:
    return (images.astype(jnp.float32),)


def changed(manifest: np.ndarray, **fields: Any) -> np.ndarray:
    return np.array(json.dumps(json.loads(str(manifest)) | fields))


def first(file: dict[str, np.ndarray]) -> str:
    return next(name for name in file if name.startswith("weights."))


TARGET = "xla_ffi_python_cpu_callback"
FAULTS: dict[str, tuple[Callable[[dict], dict], str]] = {
    "no manifest": (lambda f: {"a": f[first(f)]}, "it has no manifest"),
    "another manifest": (lambda f: {"manifest": np.array("[]")}, "its manifest is malformed"),
    "another format": (
        lambda f: f | {"manifest": changed(f["manifest"], format="latents")},
        "its manifest is of another format",
    ),
    "a later version": (
        lambda f: f | {"manifest": changed(f["manifest"], version=2)},
        "version 2 of the format; this glow-jax reads version 1",
    ),
    "an odd field": (
        lambda f: f | {"manifest": changed(f["manifest"], code="import os")},
        "its manifest is malformed",
    ),
    "a side of text": (
        lambda f: f | {"manifest": changed(f["manifest"], image_shape=["8", 8, 3])},
        "its manifest is malformed",
    ),
    "a giant": (
        lambda f: f | {"manifest": changed(f["manifest"], image_shape=[2**20, 2**20, 3])},
        "its manifest is malformed",
    ),
    "one array more": (lambda f: f | {"more": f[first(f)]}, "does not list what it holds"),
    "a changed weight": (lambda f: f | {first(f): f[first(f)] + 1}, "is not what was exported"),
    "a changed program": (
        lambda f: f | {"encode.cpu": f["encode.cpu"][::-1].copy()},
        "damaged: encode.cpu is not what was exported",
    ),
}
# With checksums that are right: the file was made so.
MADE_SO: dict[str, tuple[Callable[[dict], dict], str]] = {
    "a program of noise": (
        lambda f: f | {"encode.cpu": f["encode.cpu"][::-1].copy()},
        "program encode.cpu cannot be read by JAX",
    ),
    "half a program": (
        lambda f: f | {"encode.cpu": f["encode.cpu"][:2000]},
        "program encode.cpu cannot be read by JAX",
    ),
    "a call of a library": (
        lambda f: f | {"encode.cpu": program_of(calls_a_library, f["encode.cpu"], TARGET)},
        "program encode.cpu calls functions outside itself, which is refused",
    ),
    "another result": (
        lambda f: f | {"encode.cpu": program_of(gives_one_latent, f["encode.cpu"])},
        "program encode.cpu gives other arrays than the manifest says",
    ),
    "programs in each other's place": (
        lambda f: f | {"encode.cpu": f["decode.cpu"]},
        "program encode.cpu takes other arrays than the manifest says",
    ),
    "not a number": (
        lambda f: f | {first(f): np.full_like(f[first(f)], np.nan)},
        "has non-finite values",
    ),
    "a weight of text": (lambda f: f | {first(f): np.array(["a"])}, "is <U1, not float32"),
}


@pytest.mark.parametrize("fault", [*FAULTS, *MADE_SO])
def test_hostile_files_end_in_one_line(
    folder: Path, file: dict[str, np.ndarray], tmp_path: Path, fault: str
) -> None:
    change, message = (FAULTS | MADE_SO)[fault]
    arrays = change(file)
    if fault in MADE_SO:
        sums = {n: exported.sha256(a) for n, a in arrays.items() if n != "manifest"}
        arrays["manifest"] = changed(file["manifest"], sha256=sums)
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(gj.InputError, match=message) as caught:
        gj.load_exported(tmp_path / "m.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'm.npz'}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_unpacks_to_more_than_its_size_is_refused(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        zeros = io.BytesIO()
        np.save(zeros, np.zeros(2**20, np.float32))
        archive.writestr("manifest.npy", zeros.getvalue())
    with pytest.raises(gj.InputError, match="unpacks to more than"):
        gj.load_exported(tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("data", "message"),
    [(None, "no such file"), (b"", "not a readable"), (b"PK", "not a readable")],
)
def test_what_is_no_file_of_arrays_is_refused(
    tmp_path: Path, data: bytes | None, message: str
) -> None:
    path = tmp_path / "m.npz"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(gj.InputError, match=message):
        gj.load_exported(path)


def test_wrong_words(folder: Path, tmp_path: Path, capsys) -> None:
    model = str(folder / "model")
    assert "use .npz" in fails(capsys, ["export", model, "-o", str(tmp_path / "m.pt")])
    line = fails(capsys, ["export", model, "-o", str(tmp_path / "no" / "m.npz")])
    assert "there is no folder" in line
    line = fails(capsys, ["export", "no-such", "-o", str(tmp_path / "m.npz")])
    assert "no such model" in line
    with pytest.raises(gj.InputError, match="`platforms`: rocm; use some of cpu, cuda, tpu"):
        gj.export_model(model, tmp_path / "m.npz", platforms=["rocm"])
    assert list(tmp_path.iterdir()) == []
