"""Command lines: extreme numbers, constant pictures, `fast`'s fallback, words of any kind.

An input is a list of words; `{dir}` in a word is its folder. Exit codes 0 and 1 are accepted, 2
with one line is a refusal.
"""

import contextlib
import functools
import io
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np

from bench.robustness.damage import TEXTS, Files
from bench.robustness.kind import Kind
from bench.robustness.kinds.models import tiny
from glow_jax.cli.main import main
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import image_bytes
from glow_jax.io.provenance import Provenance

MADE = Provenance("trainedAlgorithmicMedia", "made up", {})
SLOW = ("demo", "generate", "render", "facekit", "fit-expressions")  # words alone are tried


def read(folder: Path) -> None:
    """Run the words of `words.json`.

    Raises:
        InputError: it ended with exit code 2 and one line.
        RuntimeError: it printed more than one error, a traceback, or ended otherwise.
    """
    words = json.loads((folder / "words.json").read_bytes())
    words = [word.replace("{dir}", str(folder)) for word in words]
    out, err = io.StringIO(), io.StringIO()
    here = os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as exit_:  # argparse
                code = exit_.code if isinstance(exit_.code, int) else 1
    finally:
        os.chdir(here)
    lines = err.getvalue().strip().splitlines()
    errors = [line for line in lines if "error: " in line]
    if "Traceback" in err.getvalue() or code not in (0, 1, 2) or len(errors) != (code == 2):
        raise RuntimeError(f"exit code {code}: {err.getvalue()[-300:]!r}")
    if code == 2:
        raise InputError(lines[-1])


def _files() -> Files:
    """A model, people, an expression and latents."""
    found = {f"model/{name}": data for name, data in tiny().files.items()}
    rng = np.random.default_rng(0)
    for person in ("ann", "bob", "shots"):
        for i in range(2):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            found[f"{person}/{i}.png"] = image_bytes(pixels, MADE)
    return found | {"a.npz": tiny().latents, "job.csv": b"expression,source,target,alpha\n"}


@functools.cache
def base() -> Files:
    files = _files()
    row = b"shots/0.png,ann,bob,%s\n"
    return files | {"job.csv": files["job.csv"] + row % b"0.5" + row % b"1"}


def _with(words: list[str], **changed: bytes) -> Files:
    return {**base(), **changed, "words.json": json.dumps(words).encode()}


TRANSFER = ["transfer", "--expression", "shots", "--source", "ann", "--target", "bob"]
TRANSFER += ["--model", "model", "-o", "out"]
COMMANDS = {
    "encode": "encode ann --model model -o out.npz --check",
    "decode": "decode a.npz --model model -o out",
    "sample": "sample -n 2 --model model -o out.png",
    "info": "info model",
    "transfer": " ".join(TRANSFER),
    "batch": "batch job.csv --model model -o out --no-likelihood",
    "convert": "convert a.npz -o out",
    "merge": "merge out -o out2",
    "align": "align ann -o out --model model",
    "eval": "eval out --published",
    "train": "train --data folder:ann --held-out folder:bob --steps 0 -o out",
}


def _sound() -> list[Files]:
    names = ("encode", "decode", "sample", "info", "transfer")
    return [_with(COMMANDS[name].split()) for name in names]


def _words_changed(rng: random.Random, sound: list[Files]) -> Files:
    """A command with words replaced, doubled, taken out or put in."""
    words = COMMANDS[rng.choice(sorted(COMMANDS))].split()
    for _ in range(rng.choice((1, 1, 2))):
        i, kind = rng.randrange(len(words)), rng.randrange(6)
        text = rng.choice((*TEXTS, *NUMBERS)).replace("\0", "")[:5000]
        if kind < 2 and i:
            words[i] = text
        elif kind == 2 and i:
            del words[i]
        elif kind == 3:
            words.insert(i + 1, words[i])
        else:
            words += [rng.choice(FLAGS), text] if rng.random() < 0.8 else [rng.choice(FLAGS)]
    if words and words[0] in SLOW:
        words = [words[0], "--help"]
    return _with(words)


NUMBERS = ("0", "-1", "1", "2", "1e9", "65537", "0.5", "1e-9", "0:1:0.5", "1:0:1", "auto", "0/1")
FLAGS = (
    *("--alpha", "--batch-size", "--precision", "--method", "--neutral", "--temperature", "-n"),
    *("--seed", "--model", "--limit", "--shard", "--chunk-size", "--cache-gb", "--steps", "--bits"),
    *("--image-size", "--set", "--key", "--workers", "--from", "--face", "--min-face", "--aus"),
    *(
        "--identity",
        "--metric",
        "--detector",
        "--format",
        "--levels",
        "--depth",
        "--width",
        "--ema",
    ),
    *(
        "--ema",
        "--learning-rate",
        "--force",
        "--check",
        "--help",
        "--version",
        "--no-compile-cache",
    ),
)


# -- extreme numbers


EXTREME_FLOATS = (0.0, -0.0, 1e-45, 1e-38, 1.0, -1.0, 30.0, 1e3, 1e6, 1e20, -1e20, 3e38, -3e38)


def _extreme(rng: random.Random, sound: list[Files]) -> Files:
    """Extreme latents, alphas, temperatures and pictures, at either precision."""
    kind = rng.randrange(4)
    precision = ["--precision", rng.choice(("exact", "fast"))]
    if kind == 0:
        return _with(["decode", "a.npz", "--model", "model", "-o", "out", *precision], **_eps(rng))
    if kind == 1:
        alphas = [repr(rng.choice(EXTREME_FLOATS)) for _ in range(rng.choice((1, 2)))]
        return _with([*TRANSFER, "--alpha=" + alphas[0], *precision])
    picture = _picture(rng)
    pictures = {f"{p}/{i}.png": picture for p in ("ann", "shots") for i in range(2)}
    if kind == 2:
        return _with([*COMMANDS["encode"].split(), *precision], **pictures)
    alpha = rng.choice(("auto", "0.5", "1e6", "0:1:0.5"))
    return _with([*TRANSFER, "--alpha", alpha, *precision], **pictures)


def _eps(rng: random.Random) -> dict[str, bytes]:
    """Latents of the tiny model, some of whose numbers are extreme."""
    with np.load(io.BytesIO(tiny().latents), allow_pickle=False) as file:
        arrays: dict[str, Any] = {name: file[name].copy() for name in file.files}
    for name in arrays:
        if name.startswith("eps_") and rng.random() < 0.7:
            value, share = rng.choice(EXTREME_FLOATS), rng.choice((0.01, 0.5, 1.0))
            chosen = np.random.default_rng(rng.randrange(2**31)).random(arrays[name].shape) < share
            arrays[name][chosen] = np.float32(value)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return {"a.npz": out.getvalue()}


def _picture(rng: random.Random) -> bytes:
    """A constant picture, or one of two values."""
    pixels = np.full((8, 8, 3), rng.choice((0, 1, 127, 128, 254, 255)), np.uint8)
    if rng.random() < 0.4:
        pixels[:, ::2] = rng.choice((0, 255))
    return image_bytes(pixels, MADE)


KINDS = (
    Kind("command lines", 500, _sound, read, make=_words_changed),
    Kind("extreme latents, alphas, pictures; fast", 300, _sound, read, make=_extreme),
)
