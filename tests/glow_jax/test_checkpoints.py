"""Models on disk: what is saved comes back, and what is damaged is refused in one line."""

import dataclasses
import gc
import json
import os
import re
import resource
import shutil
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore as ts
from flax import nnx

from glow_jax import checkpoints, weight_files
from glow_jax.checkpoints import fingerprint, from_weights, load, read_card, save, weights_of
from glow_jax.cli import facts
from glow_jax.config import GlowConfig
from glow_jax.io.errors import InputError
from glow_jax.model import Glow
from glow_jax.model_card import bundled_names
from glow_jax.shared_levels import joined, left_out
from glow_jax.training.grow import grow
from tests.support.models import glow, random_x

CONFIG = GlowConfig(8, 8, n_levels=2, n_steps=2, hidden_width=3, permutation="lu", n_classes=2)
CARD = {"name": "test", "licence": "CC0-1.0", "bits_per_dim": 3.25}


@pytest.fixture(scope="module")
def model() -> Glow:
    return glow(CONFIG)


@pytest.fixture(scope="module")
def saved(model: Glow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint, to be copied before it is damaged."""
    path = tmp_path_factory.mktemp("checkpoints") / "whole"
    save(model, path, CARD)
    return path


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "model")


def assert_same(got: Any, want: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, got, want)


def refused(path: Path | str, *words: str, read: Callable[..., Any] = load) -> str:
    """Read, expecting an InputError on one line that holds `words`, and nothing written."""
    folder = Path(path).parent
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable(), message
    for word in (Path(path).name, *words):
        assert word in message, message
    assert sorted(folder.rglob("*")) == before
    return message


# -- what is saved comes back


def test_everything_comes_back_exactly(model: Glow, saved: Path) -> None:
    back = load(saved, fold=False)
    assert back.config == CONFIG
    assert back.name == "whole"
    assert_same(weights_of(back), weights_of(model))
    assert {a.dtype for a in jax.tree.leaves(weights_of(back))} == {np.dtype("f4"), np.dtype("i4")}
    assert jax.tree.structure(nnx.state(back)) == jax.tree.structure(nnx.state(model))
    assert read_card(saved) == CARD
    x, label = random_x(CONFIG, jnp.float32), jnp.array([0, 1])
    assert_same(back.encode_x(x, label), model.encode_x(x, label))


def test_loaded_models_are_folded_unless_asked(model: Glow, saved: Path) -> None:
    folded, unfolded = load(saved), load(saved, fold=False)
    assert folded.folded
    assert not unfolded.folded
    assert folded.fingerprint == unfolded.fingerprint
    assert folded.name == "whole"
    assert_same(jax.tree.leaves(nnx.state(folded)), jax.tree.leaves(nnx.state(model.fold())))


def test_bfloat16_weights_are_read_as_float32(model: Glow, tmp_path: Path) -> None:
    save(model, tmp_path / "small", CARD, dtype=jnp.bfloat16)
    back = weights_of(load(tmp_path / "small", fold=False))
    rounded = jax.tree.map(
        lambda a: a.astype(jnp.bfloat16).astype(a.dtype) if a.dtype.kind == "f" else a,
        weights_of(model),
    )
    assert_same(back, rounded)
    assert {a.dtype for a in jax.tree.leaves(back)} == {np.dtype("f4"), np.dtype("i4")}
    sizes = [sum(f.stat().st_size for f in p.rglob("*")) for p in tmp_path.iterdir()]
    assert all(size < 100_000 for size in sizes)


def test_float64_weights_survive(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        model = glow(CONFIG, jnp.float64)
        save(model, tmp_path / "double", CARD)
        back = load(tmp_path / "double", fold=False, dtype=jnp.float64)
        assert_same(weights_of(back), weights_of(model))
        assert back.dtype == jnp.float64
        assert weights_of(back)["top"]["class_bias"].dtype == np.float64


def test_float64_weights_are_rounded_where_64_bits_are_off(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        model = glow(CONFIG, jnp.float64)
        save(model, tmp_path / "double", CARD)
    with jax.enable_x64(False):
        back = weights_of(load(tmp_path / "double", fold=False))
    assert_same(back, jax.tree.map(lambda a, b: a.astype(b.dtype), weights_of(model), back))


def test_paths_may_be_text_relative_or_links(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(saved)
    monkeypatch.chdir(saved.parent)
    found = {
        load(p, fold=False).fingerprint for p in (saved, str(saved), "whole", tmp_path / "link")
    }
    assert len(found) == 1


def test_every_config_field_is_kept(tmp_path: Path) -> None:
    config = GlowConfig(
        4, 8, 1, 1, 2, 1, "affine", "shuffle", False, n_bits=3, checkpoint_coupling=True
    )
    save(glow(config), tmp_path / "m", {})
    assert load(tmp_path / "m").config == config


# -- the fingerprint


def test_fingerprint_is_of_the_content(model: Glow, saved: Path, tmp_path: Path) -> None:
    own = fingerprint(CONFIG, weights_of(model))
    assert load(saved).fingerprint == own
    save(load(saved, fold=False), tmp_path / "again", {"another": "card"})
    assert load(tmp_path / "again").fingerprint == own


def test_fingerprint_changes_with_any_weight_and_any_field(model: Glow) -> None:
    weights = weights_of(model)
    leaves, tree = jax.tree.flatten(weights)
    seen = {fingerprint(CONFIG, weights)}
    for i, leaf in enumerate(leaves):
        changed = leaf.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.inf) if leaf.dtype.kind == "f" else 99
        seen.add(
            fingerprint(CONFIG, jax.tree.unflatten(tree, [*leaves[:i], changed, *leaves[i + 1 :]]))
        )
    seen.add(fingerprint(dataclasses.replace(CONFIG, n_bits=5), weights))
    seen.add(fingerprint(CONFIG, {**weights, "top2": weights["top"]}))
    assert len(seen) == len(leaves) + 3


def test_every_field_of_a_config_is_in_a_fingerprint_by_name() -> None:
    named = (*checkpoints.FINGERPRINTED, *checkpoints.FINGERPRINTED_IF_SET)
    assert sorted(named) == sorted(f.name for f in dataclasses.fields(GlowConfig))
    shown = ("coupling", "permutation", "n_bits", "checkpoint_coupling")
    assert {*facts.SHOWN_IF_SET, *shown} < set(named)


def test_the_bundled_models_fingerprint_stays() -> None:
    assert load("faces64", fold=False).fingerprint.startswith("f8ec95c9a080587f")


def test_fingerprint_does_not_change_between_versions() -> None:
    """Latents on disk are bound to it: change it, and they are all refused."""
    weights = {"a": np.arange(3, dtype=np.float32), "b": {"0": np.zeros((1, 2), np.int32)}}
    config = GlowConfig(4, 4, 1, 1, 2)
    assert fingerprint(config, weights).startswith("ab18b958953ed217")


# -- saving


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_an_existing_path_is_left_alone(model: Glow, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / "nowhere")
    refused(path, "already exists", read=lambda p: save(model, p, CARD))


def test_a_missing_folder_is_named(model: Glow, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "model"
    refused(path, "missing does not exist", read=lambda p: save(model, p, CARD))


@pytest.mark.parametrize("name", ["m" * 255, "é" * 127, "caf\udce9"], ids=repr)
def test_a_name_may_be_as_long_as_the_disk_allows(model: Glow, tmp_path: Path, name: str) -> None:
    save(model, tmp_path / name, CARD)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_that_is_not_utf8_is_refused_in_one_line(model: Glow, tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").mkdir()
    with pytest.raises(InputError, match="is not UTF-8"):
        save(model, tmp_path / "caf\udce9" / "m", CARD)
    assert not any((tmp_path / "caf\udce9").iterdir())


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_a_saved_model_has_the_permissions_that_the_umask_leaves(
    model: Glow, tmp_path: Path, mask: int
) -> None:
    before = os.umask(mask)
    try:
        save(model, tmp_path / "m", CARD)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((tmp_path / "m" / "config.json").stat().st_mode) == 0o666 & ~mask


def test_a_folded_model_is_refused(model: Glow, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folded model cannot be saved"):
        save(model.fold(), tmp_path / "m", CARD)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("where", ["weights", "hashes", "rename"])
def test_an_interrupted_save_leaves_nothing(
    model: Glow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    target, name = {
        "weights": (ocp.StandardCheckpointer, "save"),
        "hashes": (checkpoints, "file_hashes"),
        "rename": (os, "rename"),
    }[where]
    real = getattr(target, name)

    def interrupted(*args: Any, **options: Any) -> Any:
        if where == "rename" and Path(args[1]) != tmp_path / "m":
            return real(*args, **options)  # Orbax renames its own
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(target, name, interrupted)
        with pytest.raises(type(error)):
            save(model, tmp_path / "m", CARD)
    assert not any(tmp_path.iterdir())
    save(model, tmp_path / "m", CARD)  # and it can be tried again
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_card_that_is_not_json_leaves_nothing(model: Glow, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        save(model, tmp_path / "m", {"made": object()})
    assert not any(tmp_path.iterdir())


# -- damage


def test_no_such_model(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "no such model", "bundled models")
    (tmp_path / "file").write_text("a file")
    refused(tmp_path / "file", "no such model")
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", "no such model")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "not a checkpoint directory: it has no config.json")
    for name in ("", "no-such-name", "nul\0byte", "new\nline"):
        with pytest.raises(InputError) as caught:
            load(name)
        assert str(caught.value).isprintable()


BAD_JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not readable JSON"),
    "cut short": (b'{"image_height": 8, ', "is not readable JSON"),
    "bytes": (bytes(range(128, 256)), "is not readable JSON"),
    "a list": (b"[1, 2]", "holds list, not an object"),
    "null": (b"null", "holds NoneType, not an object"),
    "deep": (b"[" * 100_000, "is not readable JSON"),
    "a long number": (b'{"n_bits": ' + b"9" * 10_000 + b"}", "is not readable JSON"),
    "huge": (b'"' + b"x" * 2**20 + b'"', "is larger than 1048576 bytes"),
}


@pytest.mark.parametrize("name", BAD_JSON)
@pytest.mark.parametrize("file", ["config.json", "files.json", "card.json"])
def test_bad_json_is_refused(copy: Path, file: str, name: str) -> None:
    content, words = BAD_JSON[name]
    (copy / file).write_bytes(content)
    refused(copy, f"{file} {words}", read=read_card if file == "card.json" else load)


@pytest.mark.parametrize("kind", ["missing", "directory", "loop", "pipe"])
@pytest.mark.parametrize("file", ["config.json", "files.json", "card.json"])
def test_what_is_not_a_file_is_refused(copy: Path, file: str, kind: str) -> None:
    (copy / file).unlink()
    if kind == "directory":
        (copy / file).mkdir()
    elif kind == "loop":
        (copy / file).symlink_to(file)
    elif kind == "pipe":
        os.mkfifo(copy / file)
    refused(copy, file, read=read_card if file == "card.json" else load)


BAD_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "another size": ({"hidden_width": 4}, "weights do not match config.json"),
    "another depth": ({"n_steps": 3}, "weights do not match config.json"),
    "another level": ({"n_levels": 3}, "missing levels.2.steps"),
    "one level less": ({"n_levels": 1}, "unexpected levels.1.steps"),
    "another permutation": ({"permutation": "dense"}, "missing levels.0.steps.mix.kernel"),
    "no learned prior": ({"learned_top_prior": False}, "unexpected top.conv.bias"),
    "too deep": ({"n_steps": 10**9}, "n_steps is 1000000000; use a whole number from 1 to"),
    "of 400 digits": ({"n_steps": 10**400}, f"n_steps is 1{'0' * 99}…; use a whole number"),
    "a fraction": ({"n_steps": 2.0}, "n_steps is 2.0"),
    "infinite": ({"n_steps": float("inf")}, "n_steps is inf"),
    "true": ({"n_steps": True}, "n_steps is True"),
    "text": ({"coupling": "nice"}, "coupling is 'nice'; use one of additive, affine"),
    "text of two lines": ({"coupling": "a\nb"}, "use one of additive, affine"),
    "a list": ({"permutation": ["lu"]}, "use one of dense, lu, reverse, shuffle"),
    "not divisible": ({"image_height": 10}, "image_height is 10, which is not divisible by"),
    "unknown": ({"colour": "red"}, "unknown fields ['colour']"),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_bad_configs_are_refused(copy: Path, name: str, unchecked: None) -> None:
    fields, words = BAD_FIELDS[name]
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | fields))
    refused(copy, words)


def test_a_missing_field_is_named(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["n_levels"]
    (copy / "config.json").write_text(json.dumps(config))
    refused(copy, "n_levels")


def damage(file: Path, kind: str) -> None:
    content = file.read_bytes()
    file.unlink()
    if kind == "emptied":
        file.write_bytes(b"")
    elif kind == "cut in half":
        file.write_bytes(content[: len(content) // 2])
    elif kind == "one bit flipped":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :])
    elif kind == "a directory":
        file.mkdir()
    elif kind == "a loop":
        file.symlink_to(file.name)


DAMAGE = ("missing", "emptied", "cut in half", "one bit flipped", "a directory", "a loop")


@pytest.mark.parametrize("kind", DAMAGE)
def test_every_damaged_file_of_weights_is_refused(saved: Path, tmp_path: Path, kind: str) -> None:
    files = [f.relative_to(saved) for f in (saved / "weights").rglob("*") if f.is_file()]
    assert len(files) > 3
    for i, file in enumerate(files):
        copy = shutil.copytree(saved, tmp_path / f"model{i}")
        damage(copy / file, kind)
        refused(copy, file.as_posix())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's tasks
@pytest.mark.parametrize("kind", DAMAGE)
def test_what_the_hashes_do_not_see_orbax_does(saved: Path, tmp_path: Path, kind: str) -> None:
    """Hashes made after the damage: either refused all the same, or nothing was lost."""
    own = load(saved, fold=False).fingerprint
    files = [f.relative_to(saved) for f in (saved / "weights").rglob("*") if f.is_file()]
    for i, file in enumerate(files):
        copy = shutil.copytree(saved, tmp_path / f"model{i}")
        damage(copy / file, kind)
        (copy / "files.json").write_text(json.dumps(weight_files.file_hashes(copy / "weights")))
        try:
            found = load(copy, fold=False).fingerprint
        except InputError as error:
            assert str(error).isprintable()
        else:
            assert found == own or kind == "one bit flipped", file
    gc.collect()  # what Orbax left running complains now, not in another test


def test_a_chunk_much_larger_than_its_array_is_refused(copy: Path) -> None:
    place = {"driver": "ocdbt", "base": f"file://{copy}/weights/"}
    store = ts.KvStore.open(place).result()
    name = next(key for key in store.list().result() if key.endswith(b".bias/.zarray"))
    about = json.loads(store.read(name).result().value)
    about["chunks"] = [2**30] * len(about["chunks"])
    store.write(name, json.dumps(about)).result()
    (copy / "files.json").write_text(json.dumps(weight_files.file_hashes(copy / "weights")))
    with pytest.raises(InputError, match=r"that unpack to \d{10,} are refused"):
        load(copy)


def test_a_chunk_that_unpacks_to_much_more_than_it_says_takes_no_memory(copy: Path) -> None:
    """2 GiB in 64 KiB: a zstd frame of blocks that repeat one byte 2^17 times each."""
    blocks = [struct.pack("<I", 2**17 << 3 | 1 << 1 | last)[:3] + b"\0" for last in (0, 1)]
    frame = struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3) + 2**14 * blocks[0] + blocks[1]
    store = ts.KvStore.open({"driver": "ocdbt", "base": f"file://{copy}/weights/"}).result()
    name = next(key for key in store.list().result() if re.search(rb"\.bias/[0-9.]+$", key))
    store.write(name, frame).result()
    (copy / "files.json").write_text(json.dumps(weight_files.file_hashes(copy / "weights")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="its weights cannot be read"):
        load(copy)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


def test_a_foreign_file_is_refused(copy: Path) -> None:
    (copy / "weights" / "more").write_text("?")
    refused(copy, "weights/more does not belong to it")


@pytest.mark.parametrize("kind", ["missing", "a file", "empty", "a loop"])
def test_missing_weights_are_refused(copy: Path, kind: str) -> None:
    weights = copy / "weights"
    shutil.rmtree(weights)
    if kind == "a file":
        weights.write_text("?")
    elif kind == "empty":
        weights.mkdir()
    elif kind == "a loop":
        weights.symlink_to("weights")
    refused(copy, "weights/")


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Store other weights in a checkpoint, as a buggy converter might, hashes and all."""
    weights = weights_of(load(path, fold=False))
    change(weights)
    shutil.rmtree(path / "weights")
    with weight_files.quiet_orbax(), ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / "weights", weights)
        checkpointer.wait_until_finished()
    (path / "files.json").write_text(json.dumps(weight_files.file_hashes(path / "weights")))


def put(*names: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(weights: dict[str, Any]) -> None:
        *parents, last = names
        for name in parents:
            weights = weights[name]
        if value is None:
            del weights[last]
        else:
            weights[last] = value(weights.get(last))

    return change


NORM = ("levels", "0", "steps", "norm")
WRONG_WEIGHTS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a missing array": (put(*NORM, "bias", value=None), "missing levels.0.steps.norm.bias"),
    "a missing level": (put("levels", "1", value=None), "missing levels.1.steps"),
    "another name": (
        put(*NORM, "b", value=lambda _: np.zeros(3)),
        "unexpected levels.0.steps.norm.b",
    ),
    "another shape": (
        put(*NORM, "bias", value=lambda a: a[:1]),
        "levels.0.steps.norm.bias has shape (1, 12), not (2, 12)",
    ),
    "a transposed array": (put(*NORM, "bias", value=lambda a: a.T.copy()), "has shape (12, 2)"),
    "not a number": (
        put(*NORM, "bias", value=lambda a: np.where(a == a.max(), np.nan, a).astype(a.dtype)),
        "weight levels.0.steps.norm.bias has non-finite values",
    ),
    "infinity": (
        put("top", "conv", "logs", value=lambda a: np.full_like(a, -np.inf)),
        "weight top.conv.logs has non-finite values",
    ),
    "whole numbers": (
        put(*NORM, "bias", value=lambda a: np.ones_like(a, dtype=np.int32)),
        "levels.0.steps.norm.bias is int32",
    ),
    "fractional indices": (
        put("levels", "0", "steps", "mix", "indices", value=lambda a: a.astype(np.float32)),
        "levels.0.steps.mix.indices is float32",
    ),
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_wrong_weights_are_refused(copy: Path, name: str) -> None:
    change, words = WRONG_WEIGHTS[name]
    rewritten(copy, change)
    refused(copy, words)


# -- how likely the pictures are that a model knows


def test_a_card_says_how_likely_known_pictures_are(copy: Path) -> None:
    before = load(copy, fold=False).fingerprint
    assert checkpoints.far_limit(copy) is None
    said = checkpoints.calibrate(copy, np.linspace(0, 1, 1001))
    assert said == {"0.5": 0.5, "0.95": 0.95, "0.99": 0.99, "0.999": 0.999}
    assert checkpoints.far_limit(copy) == 0.999
    card = checkpoints.read_card(copy)
    assert card["known_bits_per_dim"] == {"pictures": 1001, "quantiles": said}
    assert {key: card[key] for key in CARD} == CARD
    assert load(copy, fold=False).fingerprint == before
    checkpoints.calibrate(copy, np.full(100, 2.0))  # again: the last one counts
    assert checkpoints.far_limit(copy) == 2


@pytest.mark.parametrize("bits", [np.zeros(99), np.full(200, np.nan), np.full(200, np.inf)])
def test_a_calibration_needs_pictures_of_finite_likelihood(copy: Path, bits: np.ndarray) -> None:
    before = (copy / "card.json").read_bytes()
    with pytest.raises(InputError, match="100 or more are needed, all with finite"):
        checkpoints.calibrate(copy, bits)
    assert (copy / "card.json").read_bytes() == before


@pytest.mark.parametrize("known", [3, {}, {"quantiles": []}, {"quantiles": {"0.999": "x"}}])
def test_a_card_without_quantiles_has_no_limit(copy: Path, known: Any) -> None:
    card = checkpoints.read_card(copy) | {"known_bits_per_dim": known}
    (copy / "card.json").write_text(json.dumps(card))
    assert checkpoints.far_limit(copy) is None


def test_two_models_of_one_shape_share_no_arrays(tiny: GlowConfig) -> None:
    """What is traced of a config is kept, and filled anew for each model."""
    first, second = (weights_of(glow(tiny, seed=seed)) for seed in (1, 2))
    models = [from_weights(tiny, weights) for weights in (first, second)]
    for model, weights in zip(models, (first, second), strict=True):
        jax.tree.map(np.testing.assert_array_equal, weights_of(model), weights)


@pytest.fixture
def grown(model: Glow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Glow, Path]:
    """A model with a level of details over the "bundled" model `coarse`, and where to save it."""
    bundled = tmp_path / "bundled"
    bundled.mkdir()
    for module in ("checkpoints", "model_card"):
        monkeypatch.setattr(f"glow_jax.{module}.BUNDLED", bundled)
    save(model, bundled / "coarse", CARD)
    coarse = load(bundled / "coarse", fold=False)
    assert isinstance(coarse, Glow)
    config = dataclasses.replace(
        CONFIG,
        image_height=2 * CONFIG.image_height,
        image_width=2 * CONFIG.image_width,
        n_levels=CONFIG.n_levels + 1,
        n_steps=(2, *CONFIG.steps),
        n_detail_levels=1,
    )
    return grow(coarse, config, rngs=nnx.Rngs(0)), tmp_path / "model"


def test_levels_of_a_bundled_model_may_be_left_out(grown: tuple[Glow, Path]) -> None:
    model, path = grown
    save(model, path, CARD, coarser="coarse")
    whole = path.with_name("whole")
    save(model, whole, CARD)
    stored, all_files = (
        sum(f.stat().st_size for f in (p / "weights").rglob("*") if f.is_file())
        for p in (path, whole)
    )
    assert stored < all_files
    loaded, other = load(path, fold=False), load(whole, fold=False)
    assert isinstance(loaded, Glow) and isinstance(other, Glow)
    jax.tree.map(np.testing.assert_array_equal, weights_of(loaded), weights_of(other))
    assert loaded.fingerprint == other.fingerprint


def test_a_model_that_is_stored_whole_names_no_coarser_one(grown: tuple[Glow, Path]) -> None:
    model, path = grown
    save(model, path, {**CARD, "coarser_levels_of": "coarse"})
    assert read_card(path) == CARD
    assert isinstance(load(path), Glow)


def test_a_model_of_one_level_may_be_the_coarser_one() -> None:
    one = glow(dataclasses.replace(CONFIG, n_levels=1))
    config = dataclasses.replace(
        CONFIG, image_height=16, image_width=16, n_steps=2, n_detail_levels=1
    )
    whole, coarser = weights_of(grow(one, config, rngs=nnx.Rngs(0))), weights_of(one)
    assert_same(joined(left_out(whole, coarser, 1), coarser, 1), whole)


def test_levels_that_differ_are_not_left_out(grown: tuple[Glow, Path]) -> None:
    model, path = grown
    bias = model.levels[1].steps.norm.bias
    bias[...] = bias[...] + 1
    with pytest.raises(ValueError, match="other levels are not those"):
        save(model, path, CARD, coarser="coarse")
    assert not path.exists()


@pytest.mark.parametrize(
    "name", ["nothing", "../bundled/coarse", "coarse/", "..", "", 3, "a" * 300]
)
def test_levels_are_of_bundled_models_only(grown: tuple[Glow, Path], name: Any) -> None:
    model, path = grown
    save(model, path, CARD, coarser="coarse")
    (path / "card.json").write_text(json.dumps({**CARD, "coarser_levels_of": name}))
    with pytest.raises(
        InputError, match="coarser_levels_of is .* no bundled model; those are coarse"
    ):
        load(path)


def test_another_bundled_model_of_that_name_is_told(grown: tuple[Glow, Path]) -> None:
    model, path = grown
    save(model, path, CARD, coarser="coarse")
    coarse = path.with_name("bundled") / "coarse"
    shutil.rmtree(coarse)
    save(glow(CONFIG, seed=1), coarse, CARD)
    with pytest.raises(InputError, match="the bundled coarse is not the one whose levels"):
        load(path)


def test_kept_weights_of_a_part_are_not_those_of_a_whole(grown: tuple[Glow, Path]) -> None:
    model, path = grown
    save(model, path, CARD, coarser="coarse")
    load(path)
    (path / "card.json").write_text(json.dumps(CARD))
    with pytest.raises(InputError, match="missing levels"):
        load(path)


def test_levels_of_another_shape_are_told(grown: tuple[Glow, Path]) -> None:
    model, path = grown
    save(model, path, CARD, coarser="coarse")
    config = path / "config.json"
    config.write_text(config.read_text().replace('"n_detail_levels": 1', '"n_detail_levels": 0'))
    with pytest.raises(InputError, match="model: the model's config is not that of coarse with"):
        load(path)


def test_bundled_models_are_listed_by_kind_and_size() -> None:
    assert bundled_names() == ["faces64", "photo64", "photo128", "photo256"]
