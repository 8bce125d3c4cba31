"""Models and what belongs to them: checkpoint folders, programs, latents, expression models."""

import functools
import hashlib
import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import glow_jax as gj
from bench.robustness.damage import Files, one_changed
from bench.robustness.kind import Kind, read_back
from bench.speed.models import random_model
from glow_jax.checkpoints import read_card, read_config
from glow_jax.latents import load_latents, save_latents
from glow_jax.model_card import BUNDLED, far_limit
from glow_jax.program import OPERATIONS
from glow_jax.training import run_folder
from glow_jax.training.log import FIELDS, rows_up_to
from transfer.expression.file import load_expression_model, load_landmark_detector

CONFIG = gj.GlowConfig(8, 8, n_levels=2, n_steps=1, hidden_width=8, n_bits=5)


class Tiny(NamedTuple):
    """A model of 8 pixels that was saved, its folder's files, and latents of its own."""

    model: gj.Glow
    files: Files
    latents: bytes


@functools.cache
def tiny() -> Tiny:
    """The smallest model with levels and a split."""
    with tempfile.TemporaryDirectory() as folder:
        path, latents = Path(folder, "model"), Path(folder, "a.npz")
        gj.save(random_model(CONFIG, 0), path, {"origin": "made up", "licence": "none"})
        model = gj.load(path)
        assert isinstance(model, gj.Glow)
        images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
        eps = tuple(np.asarray(level) for level in model.encode(images))
        save_latents(latents, eps, ["a.png", "b.png"], model)
        return Tiny(model, read_back(path), latents.read_bytes())


def _read_model(folder: Path) -> None:
    """What `info` reads of a model and what every verb loads."""
    read_config(folder)
    gj.load(folder, fold=False)
    read_card(folder)
    far_limit(folder)


def _with_hashes(files: Files) -> Files:
    """`files.json` made true, so that damage reaches what reads the weights."""
    inside = {n: d for n, d in files.items() if n.startswith("weights/")}
    whole = {n: d for n, d in files.items() if n in ("program.json", "constants.npz")}
    hashes = {n.removeprefix("weights/"): _sha256(d) for n, d in (inside | whole).items()}
    return files | {"files.json": json.dumps(hashes).encode()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _weights_changed(rng: random.Random, sound: list[Files]) -> Files:
    files = sound[0]
    names = tuple(n for n in files if n.startswith("weights/"))
    return _with_hashes(one_changed(rng, files, names))


def _descriptions_changed(rng: random.Random, sound: list[Files]) -> Files:
    return one_changed(rng, sound[0], ("config.json", "card.json", "files.json"))


def _hostile_models() -> list[Files]:
    files = tiny().files
    configs: list[dict[str, Any]] = [
        {"n_steps": 1024, "n_levels": 12, "image_height": 4096, "image_width": 4096},
        {"hidden_width": 4096, "n_channels": 4096},
        {"n_classes": 10**6},
        {"n_steps": [1, 1]},
        {"n_steps": [1, [1]]},
        {"image_height": 8.0},
        {"image_height": True},
        {"coupling": ["affine"]},
        {"coupling": {}},
        {"leaky_slope": 1e308},
        {"prior": None},
        {"n_bits": "8"},
    ]
    config = json.loads(files["config.json"])
    return [files | {"config.json": json.dumps(config | c).encode()} for c in configs]


# -- programs


@functools.cache
def program_files() -> Files:
    """A graph model made by hand: x times 2, and back."""
    one = [["value", 0], ["constant", 0]]
    shape = [1, 4, 4, 1]

    def program(op: str) -> list[Any]:
        return [[["input", [], shape, None], [op, one, shape, None]], [0], [1]]

    fields = {
        "config": {
            "image_height": 4,
            "image_width": 4,
            "n_channels": 1,
            "latent_shapes": [[4, 4, 1]],
            "n_bits": 8,
        },
        "encoder": program("Mul"),
        "decoder": program("RealDiv"),
    }
    constants = io.BytesIO()
    np.savez(constants, **{"0": np.array(2.0, np.float32)})  # type: ignore[arg-type]
    files = {"program.json": json.dumps(fields).encode(), "constants.npz": constants.getvalue()}
    return _with_hashes(files | {"card.json": b'{"origin": "made up"}'})


def _program_changed(rng: random.Random, sound: list[Files]) -> Files:
    files = sound[0]
    if rng.random() < 0.5:
        return _with_hashes(one_changed(rng, files, ("program.json", "constants.npz")))
    fields = json.loads(files["program.json"])
    instructions = fields[rng.choice(("encoder", "decoder"))][0]
    for _ in range(rng.randrange(1, 6)):
        instructions.insert(rng.randrange(len(instructions) + 1), _instruction(rng))
    return _with_hashes(files | {"program.json": json.dumps(fields).encode()})


def _instruction(rng: random.Random) -> list[Any]:
    """One that is well formed, and seldom makes sense."""
    sizes = (0, 1, 1, 2, 4, 8, 2**12, 2**26, -1, 2**70)
    args = [
        [rng.choice(("value", "value", "constant", "x")), rng.choice((0, 0, 1, 2, 9, -1))]
        for _ in range(rng.randrange(4))
    ]
    shape = [1, *(rng.choice(sizes) for _ in range(rng.randrange(5)))]
    details: list[Any] = [None, 1, -1, 3, [1], [0, 1, 2, 3], [[0, 0], [1, 1], [1, 1], [0, 0]]]
    details += [[[0, 1, 1], [0, 4, 2]], ["SAME", [1, 1]], "SAME", {}, [2**62], [[2**62, 0]]]
    return [rng.choice([*OPERATIONS, "input"]), args, shape, rng.choice(details)]


# -- latents, expression models, runs


def _read_latents(folder: Path) -> None:
    load_latents(folder / "a.npz", tiny().model)


def _latents_changed(rng: random.Random, sound: list[Files]) -> Files:
    return one_changed(rng, sound[0])


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _hostile_latents() -> list[Files]:
    model = tiny().model
    names = np.array(["a"])
    about = {"model": np.str_("tiny"), "fingerprint": np.str_(model.fingerprint)}
    levels = [np.zeros((1, *shape), np.float32) for shape in model.config.latent_shapes]
    good = {f"eps_{i}": level for i, level in enumerate(levels)} | {"names": names} | about
    changes: list[dict[str, Any]] = [
        {"eps_0": np.full_like(levels[0], np.nan)},
        {"eps_0": levels[0].astype(np.float64)},
        {"eps_0": np.zeros((0, *levels[0].shape[1:]), np.float32)},
        {"eps_0": np.array([None, "x"], object)},
        {"names": np.array([1])},
        {"names": np.array([["a"]])},
        {"names": np.array(["a" * 10**6])},
        {"names": np.array([b"a"])},
        {"fingerprint": np.array(["x", "y"])},
        {"model": np.str_("\x1b[31m\n")},
        {"eps_0": np.zeros((2**13, *levels[0].shape[1:]), np.float32)},
        {"names": np.zeros(2**22, "U8")},
    ]
    return [{"a.npz": _npz(**(good | change))} for change in changes]


def _expressions() -> list[Files]:
    """The bundled model's, cut to few Action Units so that it is small."""
    with np.load(BUNDLED / "faces64" / "expressions.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    n, keep = len(arrays["aus"]), 2
    for name in ("aus", "slope", "noise", "moves"):
        arrays[name] = arrays[name][:keep]
    for name in ("reader/linear", "reader/out", "population"):
        arrays[name] = arrays[name][:, :keep]
    arrays["rest"] = arrays["rest"][:, : 4 * keep + 1]
    assert n >= keep
    file = io.BytesIO()
    np.savez(file, **arrays)
    return [{"expressions.npz": file.getvalue()}]


def _read_expressions(folder: Path) -> None:
    load_landmark_detector(folder / "expressions.npz")
    load_expression_model(folder / "expressions.npz")


RUN = {"model": {"n_levels": 2}, "recipe": {"n_steps": 3, "flip": True}, "train_images": 9}


def _read_run(folder: Path) -> None:
    """What `train` reads of a run before its checkpoints."""
    with run_folder.claimed(folder, RUN):
        rows_up_to(folder / "log.csv", 10)


def _run_files() -> list[Files]:
    recovery = {"failed_step": 9, "restored_step": 5, "rate": 0.5, "skipped_steps": 0}
    log = ",".join(FIELDS) + "\n" + ",".join(["1"] * len(FIELDS)) + "\n"
    files = {"run.json": RUN, "recoveries.json": [recovery]}
    return [{n: json.dumps(v).encode() for n, v in files.items()} | {"log.csv": log.encode()}]


KINDS = (
    Kind(
        "model folders: config, card, hashes",
        500,
        lambda: [tiny().files],
        _read_model,
        _hostile_models,
        _descriptions_changed,
    ),
    Kind(
        "model folders: weights (Orbax), true hashes",
        250,
        lambda: [tiny().files],
        _read_model,
        make=_weights_changed,
    ),
    Kind(
        "programs: program.json, constants.npz",
        900,
        lambda: [program_files()],
        _read_model,
        make=_program_changed,
    ),
    Kind(
        "latents",
        500,
        lambda: [{"a.npz": tiny().latents}],
        _read_latents,
        _hostile_latents,
        _latents_changed,
    ),
    Kind("expression models (expressions.npz)", 300, _expressions, _read_expressions),
    Kind("training runs: run.json, recoveries.json, log.csv", 200, _run_files, _read_run),
)
