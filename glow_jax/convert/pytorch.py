"""Convert the PyTorch implementations of Glow to our parameters.

Each converter takes the arrays of one family's state_dict and returns canonical `Parts`. The
differences between the families (the conditioning half, the order of raw outputs, signs, paddings,
factors) are explained in the docstring of each converter. Sources: the repositories in `FAMILIES`,
at the commits given there.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from glow_jax.convert.build import (
    Parts,
    Source,
    Tree,
    actnorm,
    after_conv,
    constant_top,
    halves,
    hwio,
    interleaving,
    pointwise,
    reordered,
    signed_actnorm,
    standard_split,
    swapped_pairs,
    zero_conv,
)
from glow_jax.convert.flat import chaiyujin, corenel, pclucas14, y0ast
from glow_jax.convert.normflows import normflows
from glow_jax.convert.options import Options
from glow_jax.convert.torch_common import (
    checked_scale,
    config_fields,
    count,
    coupling_of,
    matrix_of,
    runs_of,
)
from glow_jax.io.errors import InputError
from glow_jax.layers import LOGSCALE_FACTOR

BATCH_NORM_EPSILON = 1e-5  # torch.nn.BatchNorm2d's default, which chrischute keeps

BOUNDS = float(np.float32(0.9))  # chrischute's default, if the file does not have it

# -- rosinality


def rosinality(source: Source, options: Options) -> Parts:
    """Names blocks.B.flows.F; learned priors; each 1x1 convolution has LU factors or a matrix.

    The zero convolutions pad with ones. This equals a zero-padded convolution plus an edge channel
    whose weight is the sum over input channels. Raw outputs are in halves, log-scale first.
    """
    if not source.names(r"blocks\.\d+\.prior\..*"):
        raise InputError(
            "it has no priors (ArtFlow's are like that): not supported, because its blocks "
            "neither split nor standardise their output"
        )
    options.needs_size_and_bits("rosinality/glow-pytorch")
    first = source.shape("blocks.0.flows.0.actnorm.loc", 4)[1]
    last = "blocks.0.flows.0.coupling.net.4.conv.weight"
    coupling = coupling_of(source, last, (first,))
    width = source.shape(last, 4)[1]
    source.drop(r".*\.(initialized|u_mask|l_mask|l_eye)")
    n_levels = count(source, r"blocks\.(\d+)\..*", "block")
    levels, all_lu = [], True
    for b in range(n_levels):
        n = first * 2**b
        n_out = n if coupling == "affine" else n // 2
        order = interleaving(n_out, even=1, odd=0) if coupling == "affine" else np.arange(n_out)
        level = []
        for f in range(count(source, rf"blocks\.{b}\.flows\.(\d+)\..*", f"block {b}: flow")):
            at = f"blocks.{b}.flows.{f}"
            matrix, is_lu = matrix_of(
                source,
                f"{at}.invconv",
                n,
                plain="weight",
                lu=("w_p", "w_l", "w_u", "s_sign", "w_s"),
                flat=False,
            )
            all_lu &= is_lu
            scale = source.vector(f"{at}.actnorm.scale", 1, n, 1, 1)
            scale = checked_scale(source, f"{at}.actnorm.scale", scale)
            loc = source.vector(f"{at}.actnorm.loc", 1, n, 1, 1)
            norm, matrix = signed_actnorm(loc, scale, matrix)
            net = f"{at}.coupling.net"
            network = {
                "in_kernel": hwio(source.take(f"{net}.0.weight", width, n // 2, 3, 3)),
                "in_norm": actnorm(source.vector(f"{net}.0.bias", width), np.zeros(width)),
                "hidden_kernel": pointwise(source.take(f"{net}.2.weight", width, width, 1, 1)),
                "hidden_norm": actnorm(source.vector(f"{net}.2.bias", width), np.zeros(width)),
                "out": reordered(_padded_with_ones(source, f"{net}.4", n_out, width), order),
            }
            level.append({"norm": norm, "mix": matrix, "coupling": {"network": network}})
        levels.append(level)
    splits = []
    for b in range(n_levels - 1):
        n = first * 2**b
        prior = _padded_with_ones(source, f"blocks.{b}.prior", n, n // 2)
        splits.append({"conv": reordered(prior, interleaving(n, even=0, odd=1))})
    n = first * 2 ** (n_levels - 1)
    top = _padded_with_ones(source, f"blocks.{n_levels - 1}.prior", 2 * n, n)
    top["kernel"] = top["kernel"][:, :, -1:]  # its input is zero but for the padding
    fields = config_fields(options, first, width, coupling, "blocks.0.flows.0.actnorm.loc")
    return Parts(fields, levels, splits, {"conv": top}, all_lu)


def _padded_with_ones(source: Source, name: str, n_out: int, n_in: int) -> Tree:
    kernel = source.take(f"{name}.conv.weight", n_out, n_in, 3, 3)
    edge = kernel.sum(axis=1, dtype=np.float64)
    bias = source.vector(f"{name}.conv.bias", n_out)
    log_scale = LOGSCALE_FACTOR * source.vector(f"{name}.scale", 1, n_out, 1, 1)
    return zero_conv(hwio(kernel, edge), bias, log_scale)


# -- kamenbliznashki


def kamen(source: Source, options: Options) -> Parts:
    """The second half conditions; y = x * s + t; log-scales have no factor 3; actnorm divides.

    The middle 1x1 convolution pads with zeros. Its actnorm turns the padding into a ring of
    constants, which the last, unpadded convolution sees as an edge channel.
    """
    options.needs_size_and_bits("kamenbliznashki/normalizing_flows")
    n_splits = 0
    if source.names(r"flowlevels\..*"):
        n_splits = count(source, r"flowlevels\.(\d+)\..*", "flow level")
    stems = [f"flowlevels.{i}.flowsteps" for i in range(n_splits)] + ["flowstep"]
    first_stem = f"{stems[0]}.0"
    first = source.shape(f"{first_stem}.0.scale", 4)[1]
    width = source.shape(f"{first_stem}.2.conv1.weight", 4)[0]
    coupling = coupling_of(source, f"{first_stem}.2.conv3.weight", (first,))
    if coupling != "affine":
        raise InputError(f"{first_stem}.2.conv3.weight: this family is always affine")
    source.drop(r".*\.(initialized|l_mask)")
    if "base_dist_mean" in source:
        source.zero("base_dist_mean", "the base distribution is taken to be standard normal")
    if "base_dist_var" in source and not (source.take("base_dist_var", 1) == 1).all():
        source.wrong("base_dist_var is not 1: not supported")
    levels, splits, all_lu = [], [], True
    for i, stem in enumerate(stems):
        n = first * 2**i
        level = []
        for k in range(count(source, rf"{re.escape(stem)}\.(\d+)\..*", f"{stem}: step")):
            at = f"{stem}.{k}"
            matrix, is_lu = matrix_of(
                source,
                f"{at}.1",
                n,
                plain="w",
                lu=("p", "l", "u", "sign_s", "log_s"),
                flat=True,
            )
            all_lu &= is_lu
            scale = source.vector(f"{at}.0.scale", 1, n, 1, 1)
            scale = checked_scale(source, f"{at}.0.scale", scale)
            bias = source.vector(f"{at}.0.bias", 1, n, 1, 1)
            norm, matrix = signed_actnorm(-bias, 1 / scale, matrix)
            network = _kamen_network(source, f"{at}.2", n, width)
            level.append({"norm": norm, "mix": matrix, "coupling": {"network": network}})
        levels.append(level)
        if i < n_splits:
            name = f"flowlevels.{i}.split.gaussianize"
            splits.append({"conv": _gaussianize(source, name, n, n // 2)})
    n = first * 2**n_splits
    top = _gaussianize(source, "gaussianize", 2 * n, n)
    order = halves(2 * n)
    constant = constant_top(top["bias"][order], top["logs"][order] * LOGSCALE_FACTOR)
    fields = config_fields(options, first, width, coupling, f"{first_stem}.0.scale")
    fields |= {"conditioning": "second", "scale_first": True}
    return Parts(fields, levels, splits, constant, all_lu)


def _gaussianize(source: Source, name: str, n_out: int, n_in: int) -> Tree:
    kernel = source.take(f"{name}.net.weight", n_out, n_in, 3, 3)
    bias = source.vector(f"{name}.net.bias", n_out)
    log_scale = source.vector(f"{name}.log_scale_factor", n_out, 1, 1)
    return zero_conv(hwio(kernel), bias, log_scale)


def _kamen_network(source: Source, name: str, n: int, width: int) -> Tree:
    def norm_of(layer: int) -> tuple[np.ndarray, np.ndarray]:
        scale = source.vector(f"{name}.actnorm{layer}.scale", 1, width, 1, 1)
        scale = checked_scale(source, f"{name}.actnorm{layer}.scale", scale)
        bias = source.vector(f"{name}.actnorm{layer}.bias", 1, width, 1, 1)
        return 1 / scale, -bias / scale

    in_kernel = hwio(source.take(f"{name}.conv1.weight", width, n // 2, 3, 3))
    in_kernel, in_norm = after_conv(in_kernel, *norm_of(1))
    hidden_kernel = pointwise(source.take(f"{name}.conv2.weight", width, width, 1, 1))
    scale, shift = norm_of(2)
    ring = np.maximum(shift, 0)  # relu of what actnorm2 makes of zero
    hidden_kernel, hidden_norm = after_conv(hidden_kernel, scale, shift)
    kernel = source.take(f"{name}.conv3.weight", n, width, 3, 3)
    edge = np.einsum("oihw,i->ohw", kernel.astype(np.float64), ring)
    bias = source.vector(f"{name}.conv3.bias", n)
    log_scale = source.vector(f"{name}.log_scale_factor", n, 1, 1)
    return {
        "in_kernel": in_kernel,
        "in_norm": in_norm,
        "hidden_kernel": hidden_kernel,
        "hidden_norm": hidden_norm,
        "out": zero_conv(hwio(kernel, edge), bias, log_scale),
    }


# -- CACTuS-AI/GlowIP, tristan-deep


def glowip(source: Source, options: Options) -> Parts:
    """The second half conditions; y = x * s + t; even raw channels are s; no learned prior.

    The last level has one step, with the scale sigmoid(h + 2) + last_zeros, because its constructor
    passes that argument in place of the coupling bias.
    """
    options.needs_size_and_bits("CACTuS-AI/GlowIP")
    if options.setting("squeeze_contig", ("false", "true"), assume="false") == "true":
        raise InputError("squeeze_contig=true: not supported, because its squeeze mixes rows")
    positions = sorted(
        int(m.group(1)) for m in source.names(r"glow_modules\.(\d+)\.coupling\.net\.conv1\.weight")
    )
    runs = runs_of(positions, 1, 3, "glow_modules")
    if positions[0] != 1:
        raise InputError("glow_modules.1 is missing: is the state_dict incomplete?")
    if len(runs[-1]) != 1:
        raise InputError(
            f"its last level has {len(runs[-1])} steps; that code makes one: is the state_dict "
            "incomplete?"
        )
    width, half = source.shape("glow_modules.1.coupling.net.conv1.weight", 4)[:2]
    first = 2 * half
    coupling = coupling_of(source, "glow_modules.1.coupling.net.conv3.weight", (first,))
    scale_bias, last_scale_bias = 0.0, 0.0
    if coupling == "affine":
        last_zeros = options.setting("last_zeros", ("true", "false"))
        last_scale_bias = 1.0 if last_zeros == "true" else 0.0
        scale_bias = options.number("coupling_bias", assume=0.0)
    has_bias = bool(scale_bias or last_scale_bias)
    levels = []
    for i, run in enumerate(runs):
        n = first * 2**i
        n_out = n if coupling == "affine" else n // 2
        level = []
        for k in run:
            at = f"glow_modules.{k}"
            network = _glowip_network(source, f"{at}.coupling.net", n, n_out, width)
            if coupling == "affine":
                network["out"] = reordered(network["out"], swapped_pairs(n_out))
            if has_bias:
                c = last_scale_bias if i == len(runs) - 1 else scale_bias
                network["scale_parameter"] = np.full(n // 2, c, np.float64)
            log_scale = source.vector(f"{at}.actnorm.logs", 1, n, 1, 1)
            norm = actnorm(source.vector(f"{at}.actnorm.b", 1, n, 1, 1), log_scale)
            w = source.take(f"{at}.invconv.W", n, n, 1, 1)
            matrix = np.ascontiguousarray(w[:, :, 0, 0].T)
            level.append({"norm": norm, "mix": matrix, "coupling": {"network": network}})
        levels.append(level)
    splits = [standard_split(first * 2**i) for i in range(len(runs) - 1)]
    fields = config_fields(options, first, width, coupling, "glow_modules.1")
    fields |= {"conditioning": "second", "scale_first": True, "learned_top_prior": False}
    if has_bias:
        fields["scale"] = "sigmoid_plus"
    return Parts(fields, levels, splits, {}, even=False)


def _glowip_network(source: Source, name: str, n: int, n_out: int, width: int) -> Tree:
    def normed(layer: int, kernel: np.ndarray) -> tuple[np.ndarray, Tree]:
        bias = source.vector(f"{name}.conv{layer}.bias", width)
        bias = bias + source.vector(f"{name}.actnorm{layer}.b", 1, width, 1, 1)
        return kernel, actnorm(bias, source.vector(f"{name}.actnorm{layer}.logs", 1, width, 1, 1))

    in_kernel, in_norm = normed(1, source.take(f"{name}.conv1.weight", width, n // 2, 3, 3))
    hidden_kernel, hidden_norm = normed(2, source.take(f"{name}.conv2.weight", width, width, 1, 1))
    kernel = hwio(source.take(f"{name}.conv3.weight", n_out, width, 3, 3))
    bias = source.vector(f"{name}.conv3.bias", n_out)
    logs = source.vector(f"{name}.logs", n_out, 1, 1)
    return {
        "in_kernel": hwio(in_kernel),
        "in_norm": in_norm,
        "hidden_kernel": pointwise(hidden_kernel),
        "hidden_norm": hidden_norm,
        "out": zero_conv(kernel, bias, LOGSCALE_FACTOR * logs),
    }


# -- chrischute


def chrischute(source: Source, options: Options) -> Parts:
    """A logit of the pixels; batch normalisation (in eval mode) and ReLU before each convolution.

    The second half conditions; even raw channels are s; y = (x + t) * exp(c tanh(raw)).
    """
    options.needs_size_and_bits("chrischute/glow", 8)
    bounds = float(source.take("bounds", 1)[0]) if "bounds" in source else BOUNDS
    if not 0.02 < bounds < 1:
        raise InputError(f"bounds is {bounds:g}; pixels are scaled into (0, 1) by less than 1")
    stems = ["flows.steps"]
    while source.names(rf"{re.escape(stems[-1][: -len('steps')] + 'next.')}.*"):
        stems.append(stems[-1][: -len("steps")] + "next.steps")
    source.drop(r".*\.(is_initialized|num_batches_tracked)")
    first = source.shape("flows.steps.0.norm.bias", 4)[1]
    width = source.shape("flows.steps.0.coup.nn.in_conv.weight", 4)[0]
    levels = []
    for i, stem in enumerate(stems):
        n = first * 2**i
        level = []
        for k in range(count(source, rf"{re.escape(stem)}\.(\d+)\..*", f"{stem}: step")):
            at = f"{stem}.{k}"
            norm = actnorm(
                source.vector(f"{at}.norm.bias", 1, n, 1, 1),
                source.vector(f"{at}.norm.logs", 1, n, 1, 1),
            )
            matrix = np.ascontiguousarray(source.take(f"{at}.conv.weight", n, n).T)
            network = _chrischute_network(source, f"{at}.coup", n, width)
            level.append({"norm": norm, "mix": matrix, "coupling": {"network": network}})
        levels.append(level)
    splits = [standard_split(first * 2**i) for i in range(len(stems) - 1)]
    fields = config_fields(options, first, width, "affine", "flows.steps.0.norm.bias")
    fields |= {
        "conditioning": "second",
        "scale": "exp_tanh",
        "input_norm": True,
        "learned_top_prior": False,
        "logit_alpha": (1 - bounds) / 2,
    }
    return Parts(fields, levels, splits, {})


def _chrischute_network(source: Source, name: str, n: int, width: int) -> Tree:
    def batch_norm(layer: str, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift of a batch normalisation in eval mode."""
        at = f"{name}.nn.{layer}"
        weight, bias = source.vector(f"{at}.weight", size), source.vector(f"{at}.bias", size)
        mean = source.vector(f"{at}.running_mean", size)
        variance = source.vector(f"{at}.running_var", size)
        if (variance < 0).any():
            source.wrong(f"{at}.running_var has negative values")
        scale = weight / np.sqrt(np.abs(variance) + BATCH_NORM_EPSILON)
        return scale, bias - mean * scale

    input_scale, input_bias = batch_norm("in_norm", n // 2)
    in_kernel = hwio(source.take(f"{name}.nn.in_conv.weight", width, n // 2, 3, 3))
    in_kernel, in_norm = after_conv(in_kernel, *batch_norm("mid_norm", width))
    hidden_kernel = pointwise(source.take(f"{name}.nn.mid_conv.weight", width, width, 1, 1))
    hidden_kernel, hidden_norm = after_conv(hidden_kernel, *batch_norm("out_norm", width))
    kernel = hwio(source.take(f"{name}.nn.out_conv.weight", n, width, 3, 3))
    bias = source.vector(f"{name}.nn.out_conv.bias", n)
    return {
        "input_scale": input_scale,
        "input_bias": input_bias,
        "in_kernel": in_kernel,
        "in_norm": in_norm,
        "hidden_kernel": hidden_kernel,
        "hidden_norm": hidden_norm,
        "out": reordered(zero_conv(kernel, bias, np.zeros(n)), swapped_pairs(n)),
        "scale_parameter": source.vector(f"{name}.scale", n // 2, 1, 1),
    }


# -- the table of families


class Family(NamedTuple):
    """One implementation.

    Attributes:
        key: a pattern that fully matches some name in files of this family, and of no other.
        read: the converter, a function from arrays to `Parts`.
        url: repository and commit against which the converter was checked.
        roots: the possible first parts of names.
    """

    key: str
    read: Callable[[Source, Options], Parts]
    url: str
    roots: tuple[str, ...]


_FLAT_ROOTS = ("flow", "project_ycond", "project_class")
FAMILIES = {
    "rosinality": Family(
        r"blocks\.\d+\.flows\.\d+\.invconv\..*",
        rosinality,
        "rosinality/glow-pytorch@97081ff",
        ("blocks",),
    ),
    "chaiyujin": Family(
        r"flow\.layers\.\d+\.f\.0\.weight",
        chaiyujin,
        "chaiyujin/glow-pytorch@487a6b1",
        (*_FLAT_ROOTS, "prior_h", "learn_top"),
    ),
    "y0ast": Family(
        r"flow\.layers\.\d+\.block\.0\.conv\.weight",
        y0ast,
        "y0ast/Glow-PyTorch@13c7b01",
        (*_FLAT_ROOTS, "prior_h", "learn_top_fn"),
    ),
    "kamen": Family(
        r"flowstep\.\d+\.2\.conv1\.weight",
        kamen,
        "kamenbliznashki/normalizing_flows@97a73a0",
        ("flowlevels", "flowstep", "gaussianize", "base_dist_mean", "base_dist_var"),
    ),
    "corenel": Family(
        r"flow\.layers\.\d+\.f\.0\.weight",
        corenel,
        "corenel/pytorch-glow@dfd6db3",
        ("flow", "h_top", "learn_top", "y_emb", "classifier"),
    ),
    "pclucas14": Family(
        r"layers\.\d+\.NN\.0\.conv\.weight",
        pclucas14,
        "pclucas14/pytorch-glow@6884640",
        ("layers",),
    ),
    "chrischute": Family(
        r"flows\.(next\.)*steps\.\d+\.coup\..*",
        chrischute,
        "chrischute/glow@faffa5b",
        ("flows", "bounds"),
    ),
    "glowip": Family(
        r"glow_modules\.\d+\.coupling\.net\.conv1\.weight",
        glowip,
        "CACTuS-AI/GlowIP@7173408",
        ("glow_modules",),
    ),
    "normflows": Family(
        r"flows\.\d+\.\d+\.flows\.0\.flows\.1\.param_map\..*",
        normflows,
        "PyPI normflows 1.7.3",
        ("flows", "q0"),
    ),
}
# Derivatives of Glow that cannot be converted, and the reason.
NOT_GLOW = {
    r"flowUpsamplerNet\..*": "SRFlow's flow is conditioned on a low-resolution image",
}


def family_of(names: list[str]) -> str | None:
    """The family whose key matches some name; None if there is none.

    Raises:
        InputError: the names are those of a derivative that cannot be converted; or they are common
            to chaiyujin and corenel, without the buffer that distinguishes these two.
    """
    for pattern, why in NOT_GLOW.items():
        if any(re.fullmatch(pattern, name) for name in names):
            raise InputError(f"not supported, because {why}")
    found = [f for f, family in FAMILIES.items() if any(re.fullmatch(family.key, n) for n in names)]
    if found == ["chaiyujin", "corenel"]:
        by_buffer = {"prior_h": "chaiyujin", "h_top": "corenel"}
        by_buffer = {name: family for name, family in by_buffer.items() if name in names}
        if len(by_buffer) != 1:
            raise InputError(
                "its names are both chaiyujin's and corenel's, and neither prior_h nor h_top is "
                "in the file; add `format` chaiyujin or corenel"
            )
        return next(iter(by_buffer.values()))
    return found[0] if found else None
