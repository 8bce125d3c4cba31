"""openai/glow's training checkpoints, whose parameters are ours under other names.

Source: openai/glow at 91b2c57, `model.py`, `tfops.py`, `train.py`.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from glow_jax.convert.build import Parts, Source, Tree, class_top
from glow_jax.convert.options import Options
from glow_jax.io.errors import InputError
from glow_jax.layers import LOGSCALE_FACTOR

URL = "openai/glow@91b2c57"
EMA = "/ExponentialMovingAverage"


def read_training_log(folder: Path, options: Options) -> None:
    """Read the hyperparameters that train.py prints on the first line of train.txt."""
    log = folder / "train.txt"
    if not log.is_file():
        return
    with open(log, encoding="utf-8", errors="replace") as file:
        line = file.readline(2**16)
    try:
        content = json.loads(line)
        size, bits = content.get("image_size"), content.get("n_bits_x")
    except (ValueError, AttributeError, RecursionError):
        return
    if isinstance(size, int) and 0 < size <= 4096:
        options.suggest_size(size, size)
    if isinstance(bits, int) and 1 <= bits <= 8:
        options.found_bits(bits)


def openai(arrays: Mapping[str, np.ndarray], options: Options) -> tuple[Source, Parts]:
    """Parts from variables by name: raw ones, as openai/glow samples with, or averages (`ema`)."""
    options.needs_size_and_bits("openai/glow")
    averaged = {k.removesuffix(EMA): v for k, v in arrays.items() if k.endswith(EMA)}
    chosen = {k: v for k, v in arrays.items() if not k.endswith(EMA)}
    if options.ema:
        if not averaged:
            raise InputError("`ema`: the checkpoint has no exponential moving averages")
        chosen |= averaged
    elif averaged and "model/0/0/actnorm_center/b" not in chosen:
        raise InputError("the checkpoint holds moving averages only: `ema` takes them")
    elif averaged:
        options.notes.append(
            "took the raw weights; the checkpoint has averages too (`ema` takes those)"
        )
    source = Source(chosen)
    # Variables of the optimiser.
    source.drop(r"Variable(_\d+)?|global_step|.*/(Adam|Adamax)(_\d+)?")
    source.drop(
        r"model/classifier/.*",
        "the classifier of the top latent is left out, because it is not part of the flow",
    )
    first = source.shape("model/0/0/actnorm_center/b", 4)[3]
    width = source.shape("model/0/0/f1/l_1/W", 4)[3]
    n_out = source.shape("model/0/0/f1/l_last/W", 4)[3]
    if n_out not in (first, first // 2) or first % 4:
        raise InputError(f"model/0/0/f1/l_last/W has {n_out} outputs for {first} channels")
    affine = n_out == first
    numbers = [(int(m[1]), int(m[2])) for m in source.names(r"model/(\d+)/(\d+)/actnorm_center/b")]
    n_levels = 1 + max(level for level, _ in numbers)
    kind = "reverse"
    if source.names(r"model/\d+/\d+/shuffle/indices"):
        kind = "shuffle"
    elif source.names(r"model/\d+/\d+/invconv/W"):
        kind = "dense"
    levels = []
    for i in range(n_levels):
        found = sorted(k for level, k in numbers if level == i)
        if found != list(range(len(found))) or not found:
            raise InputError(f"steps of model/{i} are missing: is the checkpoint incomplete?")
        levels.append(
            [_step(source, f"model/{i}/{k}", first * 2**i, width, affine, kind) for k in found]
        )
    splits = [
        {"conv": _zero_conv(source, f"model/pool{i}/conv", first * 2**i // 2, first * 2**i)}
        for i in range(n_levels - 1)
    ]
    n = first * 2 ** (n_levels - 1)
    top: Tree = {}
    learned = "model/prior/p/W" in source
    if learned:
        conv = _zero_conv(source, "model/prior/p", 2 * n, 2 * n)
        conv["kernel"] = conv["kernel"][:, :, -1:]  # a convolution of zeros
        top = {"conv": conv}
    n_classes = 0
    if "model/prior/y_emb/W" in source:
        n_classes = source.shape("model/prior/y_emb/W", 2)[0]
        top |= class_top(
            source.take("model/prior/y_emb/W", n_classes, 2 * n),
            source.vector("model/prior/y_emb/b", 1, 2 * n),
            LOGSCALE_FACTOR * source.vector("model/prior/y_emb/logs", 1, 2 * n),
        )
    height, columns = options.image_size
    fields = {
        "image_height": height,
        "image_width": columns,
        "n_channels": first // 4,
        "hidden_width": width,
        "coupling": "affine" if affine else "additive",
        "n_bits": options.bits,
        "learned_top_prior": learned,
        "n_classes": n_classes,
    }
    return source, Parts(fields, levels, splits, top)


def _step(source: Source, at: str, n: int, width: int, affine: bool, kind: str) -> Tree:
    if kind == "dense":
        mix = source.take(f"{at}/invconv/W", n, n)
    elif kind == "shuffle":
        source.drop(re.escape(f"{at}/shuffle/indices_inverse"))
        mix = source.indices(f"{at}/shuffle/indices", n)
    else:
        mix = np.arange(n - 1, -1, -1, dtype=np.int32)
    network = {
        "in_kernel": source.take(f"{at}/f1/l_1/W", 3, 3, n // 2 + 1, width),
        "in_norm": _actnorm(source, f"{at}/f1/l_1", width),
        "hidden_kernel": source.take(f"{at}/f1/l_2/W", 1, 1, width, width)[0, 0],
        "hidden_norm": _actnorm(source, f"{at}/f1/l_2", width),
        "out": _zero_conv(source, f"{at}/f1/l_last", width, n if affine else n // 2),
    }
    return {"norm": _actnorm(source, at, n), "mix": mix, "coupling": {"network": network}}


def _actnorm(source: Source, at: str, n: int) -> Tree:
    return {
        "bias": source.vector(f"{at}/actnorm_center/b", 1, 1, 1, n),
        "logs": source.vector(f"{at}/actnorm_scale/logs", 1, 1, 1, n),
    }


def _zero_conv(source: Source, at: str, n_in: int, n_out: int) -> Tree:
    return {
        "kernel": source.take(f"{at}/W", 3, 3, n_in + 1, n_out),
        "bias": source.vector(f"{at}/b", 1, 1, 1, n_out),
        "logs": source.vector(f"{at}/logs", 1, n_out),
    }
