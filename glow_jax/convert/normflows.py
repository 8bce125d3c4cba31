"""Glows made with PyPI's normflows: a MultiscaleFlow of GlowBlocks.

Source: normflows 1.7.3, `flows/affine/glow.py, coupling.py`, `flows/mixing.py, reshape.py`,
`nets/cnn.py`, `distributions/base.py`, `core.py: MultiscaleFlow`, `transforms.py`.
"""

import re

import numpy as np

from glow_jax.convert.build import (
    Parts,
    Source,
    Tree,
    actnorm,
    hwio,
    pixels_into,
    pointwise,
    zero_conv,
)
from glow_jax.convert.options import Options
from glow_jax.convert.torch_common import UNIT, config_fields, count, matrix_of
from glow_jax.io.errors import InputError
from glow_jax.layers import LOGSCALE_FACTOR

_CONDITIONING = {
    "channel": "first",
    "channel_inv": "second",
    "checkerboard": "odd",
    "checkerboard_inv": "even",
}
_SCALE = {"sigmoid": "sigmoid", "sigmoid_inv": "inverse_sigmoid", "exp": "exp"}


def normflows(source: Source, options: Options) -> Parts:
    """Levels and steps are stored in the decode direction: top level first, last step first.

    Encoding subtracts the shift, so its channels change sign; priors are constants.
    """
    n_levels = count(source, r"q0\.(\d+)\..*", "base distribution")
    source.drop(r".*\.(data_dep_init_done|eye)")
    stem = f"flows.{n_levels - 1}"  # the finest
    first = source.shape(f"{stem}.0.flows.2.s", 4)[1]
    split_mode = options.setting("split_mode", tuple(_CONDITIONING), assume="channel")
    checkerboard = split_mode.startswith("checkerboard")
    net = f"{stem}.0.flows.0.flows.1.param_map.net"
    has_norm = f"{net}.6.weight" in source
    last_layer = 6 if has_norm else 4
    width, n_in = source.shape(f"{net}.0.weight", 4)[:2]
    if n_in != (first if checkerboard else first // 2):
        raise InputError(
            f"{net}.0.weight takes {n_in} channels of {first}: not split_mode {split_mode}; add "
            f"`settings` split_mode={'channel' if checkerboard else 'checkerboard'} (or its _inv)"
        )
    changed = first if checkerboard else first // 2
    n_out = source.shape(f"{net}.{last_layer}.weight", 4)[0]
    if n_out not in (changed, 2 * changed):
        raise InputError(f"{net}.{last_layer}.weight has {n_out} outputs; expected {2 * changed}")
    affine = n_out == 2 * changed
    scale_map = "sigmoid"
    if affine:
        scale_map = options.setting("scale_map", tuple(_SCALE), assume="sigmoid")
    leaky = options.number("leaky", assume=0.0)
    transform = options.setting("transform", ("none", "shift", "logit"), assume="none")
    n_classes = _bases(source, options, first, n_levels)
    options.needs_size_and_bits("normflows")
    levels, all_lu = [], True
    for i in range(n_levels):
        n, stem = first * 2**i, f"flows.{n_levels - 1 - i}"
        n_steps = count(source, rf"{re.escape(stem)}\.(\d+)\..*", f"{stem}: block")
        level = []
        for k in reversed(range(n_steps)):
            at = f"{stem}.{k}.flows"
            matrix, is_lu = matrix_of(
                source,
                f"{at}.1",
                n,
                plain="W",
                lu=("P", "L", "U", "sign_S", "log_S"),
                flat=True,
            )
            all_lu &= is_lu
            log_scale = -source.vector(f"{at}.2.s", 1, n, 1, 1)
            norm = actnorm(-source.vector(f"{at}.2.t", 1, n, 1, 1), log_scale)
            part = n if checkerboard else n // 2
            net = f"{at}.0.flows.1.param_map.net"
            n_out = 2 * part if affine else part
            network = _normflows_network(source, net, (part, width), n_out, has_norm)
            _negated(network["out"], slice(0, None, 2 if affine else 1))  # x - t
            if affine and scale_map == "exp":
                _negated(network["out"], slice(1, None, 2))  # exp(-s)
            level.append({"norm": norm, "mix": matrix, "coupling": {"network": network}})
        levels.append(level)
    if transform == "none":
        pixels_into(levels[0][0], *UNIT)
    coupling = "affine" if affine else "additive"
    fields = config_fields(options, first, width, coupling, f"{stem}.0.flows.2.s")
    fields |= {
        "conditioning": _CONDITIONING[split_mode],
        "scale": _SCALE[scale_map],
        "leaky_slope": leaky,
        "prior": "position",
        "n_classes": n_classes,
    }
    if transform == "logit":
        fields["logit_alpha"] = options.number("logit_alpha", assume=0.05)
    size = options.image_size
    priors = [
        _base(source, f"q0.{n_levels - 1 - i}", _latent(first, i, n_levels, size), n_classes)
        for i in range(n_levels)
    ]
    return Parts(fields, levels, priors[:-1], priors[-1], all_lu, even=False)


def _latent(first: int, level: int, n_levels: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """(C, H, W) of a level's latent."""
    n = first * 2**level
    scale = 2 ** (level + 1)
    return n if level == n_levels - 1 else n // 2, size[0] // scale, size[1] // scale


def _bases(source: Source, options: Options, first: int, n_levels: int) -> int:
    """The number of classes, and, if they have positions, the image size, from the bases."""
    found = {0}
    for i in range(n_levels):
        at = f"q0.{n_levels - 1 - i}"
        channels = _latent(first, i, n_levels, (1, 1))[0]
        if f"{at}.loc_cc" in source:
            found.add(source.shape(f"{at}.loc_cc", 2)[0])
        shape = source.shape(f"{at}.loc", 4)
        if f"{at}.loc_logs" not in source:
            per_class = shape[0] == channels and shape[0] != 1
            height, width = shape[1:3] if per_class else shape[2:4]
            found |= {shape[3]} if per_class else set()
            scale = 2 ** (i + 1)
            options.found_size(height * scale, width * scale, f"{at}.loc")
    counts = found - {0}
    if len(counts) > 1:
        raise InputError(f"its base distributions have {sorted(counts)} classes; need one number")
    return max(found)


def _base(source: Source, name: str, latent: tuple[int, int, int], n_classes: int) -> Tree:
    """One base distribution as mean and log standard deviation by class, row, column, channel."""
    c, h, w = latent

    def spread(values: np.ndarray) -> np.ndarray:
        """From (classes or 1, C, H or 1, W or 1) to the layout of our prior."""
        full = np.broadcast_to(values.transpose(0, 2, 3, 1), (max(n_classes, 1), h, w, c))
        return np.ascontiguousarray(full)

    if f"{name}.loc_logs" in source:  # GlowBase

        def of(parameter: str) -> np.ndarray:
            factor = source.vector(f"{name}.{parameter}_logs", 1, c, 1, 1)
            value = source.vector(f"{name}.{parameter}", 1, c, 1, 1)[None]
            value = value * np.exp(LOGSCALE_FACTOR * factor)
            if f"{name}.{parameter}_cc" in source:
                value = value + source.take(f"{name}.{parameter}_cc", n_classes, c)
            return spread(value[:, :, None, None])

    elif source.shape(f"{name}.loc", 4)[0] == 1:  # DiagGaussian

        def of(parameter: str) -> np.ndarray:
            return spread(source.take(f"{name}.{parameter}", 1, c, h, w))

    else:  # ClassCondDiagGaussian

        def of(parameter: str) -> np.ndarray:
            return spread(
                source.take(f"{name}.{parameter}", c, h, w, n_classes).transpose(3, 0, 1, 2)
            )

    return {"mu": of("loc"), "logs": of("log_scale")}


def _normflows_network(
    source: Source, name: str, shape: tuple[int, int], n_out: int, has_norm: bool
) -> Tree:
    """The network: convolutions, with or without ActNorms between them."""
    n_in, width = shape
    zero = np.zeros(width)

    def hidden(layer: int, norm: int, n: int, size: int) -> tuple[np.ndarray, Tree]:
        kernel = source.take(f"{name}.{layer}.weight", width, n, size, size)
        if not has_norm:
            return kernel, actnorm(source.vector(f"{name}.{layer}.bias", width), zero)
        t = source.vector(f"{name}.{norm}.actNorm.t", 1, width, 1, 1)
        s = source.vector(f"{name}.{norm}.actNorm.s", 1, width, 1, 1)
        return kernel, actnorm(t * np.exp(-s), s)

    in_kernel, in_norm = hidden(0, 1, n_in, 3)
    hidden_kernel, hidden_norm = hidden(3 if has_norm else 2, 4, width, 1)
    last = f"{name}.{6 if has_norm else 4}"
    kernel = hwio(source.take(f"{last}.weight", n_out, width, 3, 3))
    bias = source.vector(f"{last}.bias", n_out)
    return {
        "in_kernel": hwio(in_kernel),
        "in_norm": in_norm,
        "hidden_kernel": pointwise(hidden_kernel),
        "hidden_norm": hidden_norm,
        "out": zero_conv(kernel, bias, np.zeros(n_out)),
    }


def _negated(tree: Tree, channels: slice) -> None:
    """Change the sign of some of a `zero_conv`'s outputs, in place."""
    tree["kernel"][..., channels] *= -1
    tree["bias"][channels] *= -1
