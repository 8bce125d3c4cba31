"""chaiyujin, y0ast, corenel, pclucas14: PyTorch Glows whose layers are in one flat list."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from glow_jax.convert.build import (
    Parts,
    Source,
    Tree,
    actnorm,
    class_top,
    constant_top,
    hwio,
    pixels_into,
    pointwise,
    zero_conv,
)
from glow_jax.convert.options import Options
from glow_jax.convert.torch_common import UNIT_255, config_fields, coupling_of, matrix_of, runs_of
from glow_jax.io.errors import InputError
from glow_jax.layers import LOGSCALE_FACTOR


class _Flat(NamedTuple):
    """Names of arrays in a family whose layers are in one list.

    `{}` is a layer's number; `norm_factor` is the factor of logs in its actnorms.
    """

    stem: str
    stride: int  # layers per step
    coupling: str  # of the coupling network
    conv: str  # part of the name between network and kernel, hidden convolutions
    zero_conv: str  # the same, last convolution
    norm: str
    bias: str
    mix: str
    split: str
    split_conv: str
    norm_factor: float
    rank: int  # number of axes of an actnorm's arrays
    flat_mix: bool
    factors: tuple[str, ...]
    top: str
    top_conv: str
    zeros: str
    class_shift: str
    class_linear: str
    classifier: str


_CHAIYUJIN = _Flat(
    stem="flow.layers",
    stride=1,
    coupling="{}.f",
    conv="",
    zero_conv="",
    norm="{}.actnorm",
    bias="bias",
    mix="{}.invconv",
    split="{}.conv",
    split_conv="",
    norm_factor=1.0,
    rank=4,
    flat_mix=True,
    factors=("p", "l", "u", "sign_s", "log_s"),
    top="learn_top",
    top_conv="",
    zeros="prior_h",
    class_shift="project_ycond",
    class_linear="",
    classifier="project_class",
)
_Y0AST = _CHAIYUJIN._replace(
    coupling="{}.block",
    conv=".conv",
    zero_conv=".conv",
    split_conv=".conv",
    factors=("p", "lower", "upper", "sign_s", "log_s"),
    top="learn_top_fn",
    top_conv=".conv",
    class_linear=".linear",
)
_CORENEL = _CHAIYUJIN._replace(
    split="{}.conv2d_zeros",
    norm_factor=LOGSCALE_FACTOR,
    zeros="h_top",
    class_shift="y_emb",
    classifier="classifier",
)
_PCLUCAS14 = _CHAIYUJIN._replace(
    stem="layers",
    stride=3,
    coupling="{}.NN",
    conv=".conv",
    norm="{}",
    bias="b",
    split="{}.conv_zero",
    rank=3,
    flat_mix=False,
    top="",  # the last layer of the list
    zeros="",
)


def chaiyujin(source: Source, options: Options) -> Parts:
    """Pixels are u8 / 255 without an offset; raw outputs are interleaved as in OpenAI's code."""
    return _flat(source, options, _CHAIYUJIN, "chaiyujin/glow-pytorch", 8, UNIT_255)


def y0ast(source: Source, options: Options) -> Parts:
    return _flat(source, options, _Y0AST, "y0ast/Glow-PyTorch", 8, None)


def corenel(source: Source, options: Options) -> Parts:
    """Actnorms multiply logs by 3, as OpenAI's do. n_bits affects only the training noise."""
    return _flat(source, options, _CORENEL, "corenel/pytorch-glow", None, UNIT_255)


def pclucas14(source: Source, options: Options) -> Parts:
    """A step is three layers: actnorm, permutation or convolution, coupling."""
    return _flat(source, options, _PCLUCAS14, "pclucas14/pytorch-glow", 8, UNIT_255)


def _flat(
    source: Source,
    options: Options,
    names: _Flat,
    family: str,
    bits: int | None,
    pixels: tuple[float, float] | None,
) -> Parts:
    network = f"{names.stem}.{names.coupling}"
    pattern = re.escape(f"{network}.0{names.conv}.weight").replace(r"\{\}", r"(\d+)")
    positions = sorted(int(m.group(1)) for m in source.names(pattern))
    # Between two levels there are a split and a squeeze.
    runs = runs_of(positions, names.stride, names.stride + 2, names.stem)
    ends = 1 if names.stride == 1 else 3
    if positions[0] != ends:
        raise InputError(f"{names.stem}.{ends} is missing: is the state_dict incomplete?")
    at = network.format(positions[0])
    width, half = source.shape(f"{at}.0{names.conv}.weight", 4)[:2]
    first = 2 * half
    coupling = coupling_of(source, f"{at}.4{names.zero_conv}.weight", (first,))
    _image_size_of_zeros(source, options, names, len(runs), first)
    options.needs_size_and_bits(family, bits)

    def normed(name: str, n: int) -> Tree:
        shape = (1, n, *[1] * (names.rank - 2))
        log_scale = names.norm_factor * source.vector(f"{name}.logs", *shape)
        return actnorm(source.vector(f"{name}.{names.bias}", *shape), log_scale)

    def last(name: str, conv: str, n_out: int, n_in: int) -> Tree:
        kernel = source.take(f"{name}{conv}.weight", n_out, n_in, 3, 3)
        bias = source.vector(f"{name}{conv}.bias", n_out)
        logs = source.vector(f"{name}.logs", n_out, 1, 1)
        return zero_conv(hwio(kernel), bias, LOGSCALE_FACTOR * logs)

    def hidden(net: str, layer: int, n_in: int, size: int) -> tuple[np.ndarray, Tree]:
        kernel = source.take(f"{net}.{layer}{names.conv}.weight", width, n_in, size, size)
        return kernel, normed(f"{net}.{layer}.actnorm", width)

    levels, splits, all_lu = [], [], True
    for i, run in enumerate(runs):
        n = first * 2**i
        level = []
        for k in run:
            begin = k - 2 if names.stride == 3 else k
            mix, is_lu = _flat_mix(source, options, names, begin, n)
            all_lu &= is_lu
            net = network.format(k)
            in_kernel, in_norm = hidden(net, 0, n // 2, 3)
            hidden_kernel, hidden_norm = hidden(net, 2, width, 1)
            n_out = n if coupling == "affine" else n // 2
            tree = {
                "in_kernel": hwio(in_kernel),
                "in_norm": in_norm,
                "hidden_kernel": pointwise(hidden_kernel),
                "hidden_norm": hidden_norm,
                "out": last(f"{net}.4", names.zero_conv, n_out, width),
            }
            norm = normed(f"{names.stem}.{names.norm.format(begin)}", n)
            level.append({"norm": norm, "mix": mix, "coupling": {"network": tree}})
        levels.append(level)
        if i < len(runs) - 1:
            split = f"{names.stem}.{names.split.format(run[-1] + 1)}"
            splits.append({"conv": last(split, names.split_conv, n, n // 2)})
    if pixels is not None:
        pixels_into(levels[0][0], *pixels)
    top, more = _flat_top(source, names, first * 2 ** (len(runs) - 1), runs[-1][-1] + 1, last)
    fields = config_fields(options, first, width, coupling, at, **more)
    return Parts(fields, levels, splits, top, all_lu)


def _flat_mix(
    source: Source, options: Options, names: _Flat, k: int, n: int
) -> tuple[np.ndarray, bool]:
    """A step's 1x1 convolution, or its permutation, as the file or the user's setting gives it."""
    if names.stride == 3:  # the file always has the convolution or the indices
        name = f"{names.stem}.{k + 1}"
        if source.names(rf"{names.stem}\.\d+\.indices"):
            source.drop(re.escape(f"{name}.rev_indices"))
            return source.indices(f"{name}.indices", n), False
        return matrix_of(source, name, n, plain="weight", lu=names.factors, flat=names.flat_mix)
    name = f"{names.stem}.{names.mix.format(k)}"
    if not source.names(rf"{names.stem}\.\d+\.invconv\..*"):
        kind = options.setting("permutation", ("reverse", "shuffle"))
        if kind == "reverse":
            return np.arange(n - 1, -1, -1, dtype=np.int32), False
        raise InputError(
            "a shuffle's indices are drawn anew in every run of that code and are not in the "
            "file: not supported, because nothing can recover them"
        )
    return matrix_of(source, name, n, plain="weight", lu=names.factors, flat=names.flat_mix)


def _image_size_of_zeros(
    source: Source, options: Options, names: _Flat, n_levels: int, first: int
) -> None:
    """Find the image size from the buffer of zeros that is the top prior's input."""
    if names.zeros and names.zeros in source:
        _, channels, height, width = source.shape(names.zeros, 4)
        if channels != first * 2**n_levels:  # twice the channels of the top latent
            raise InputError(
                f"{names.zeros} has {channels} channels; {n_levels} levels need "
                f"{first * 2**n_levels}: is the state_dict incomplete?"
            )
        options.found_size(height * 2**n_levels, width * 2**n_levels, names.zeros)
        source.zero(names.zeros, "the top prior would depend on it position by position")


def _flat_top(
    source: Source, names: _Flat, n: int, end: int, last: Callable[[str, str, int, int], Tree]
) -> tuple[Tree, dict[str, Any]]:
    """The top prior, a convolution of zeros, so that only bias and logs have an effect; classes."""
    name = names.top or f"{names.stem}.{end}.conv"
    tree: Tree = {}
    learned = f"{name}{names.top_conv}.weight" in source
    if learned:
        conv = last(name, names.top_conv, 2 * n, 2 * n)
        tree = constant_top(conv["bias"], conv["logs"] * LOGSCALE_FACTOR)
    source.drop(
        rf"{names.classifier}\..*",
        "the classifier of the top latent is left out, because it is not part of the flow",
    )
    kernel = f"{names.class_shift}{names.class_linear}.weight"
    n_classes = 0
    if kernel in source:
        n_classes = source.shape(kernel, 2)[1]
        tree |= class_top(
            np.ascontiguousarray(source.take(kernel, 2 * n, n_classes).T),
            source.vector(f"{names.class_shift}{names.class_linear}.bias", 2 * n),
            LOGSCALE_FACTOR * source.vector(f"{names.class_shift}.logs", 2 * n),
        )
    return tree, {"learned_top_prior": learned, "n_classes": n_classes}
