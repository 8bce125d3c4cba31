"""Grow a model: more steps of flow and wider coupling networks that compute the same function.

A model of fewer pixels is enlarged first (`glow_jax.training.enlarge`).

New hidden channels have zero output weights. A new step has a coupling that adds zero, an actnorm
that is the identity, and a 1x1 convolution that exchanges the two halves of the channels, so that
its coupling changes the half that its neighbour's does not; the next step's actnorm and 1x1
convolution take the exchange back. Training then moves all of them.

After Chen et al. 2016, "Net2Net: accelerating learning via knowledge transfer".
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Int

from glow_jax.config import GlowConfig
from glow_jax.coupling import NETWORK_INIT_STD, CouplingNetwork
from glow_jax.flow_step import Step
from glow_jax.io.errors import InputError
from glow_jax.layers import LOGSCALE_FACTOR, ActNorm, ChannelPermutation, Conv1x1
from glow_jax.model import Glow
from glow_jax.training.enlarge import IDENTITY_SCALES, enlarge, enlarged, n_doublings

FREE = ("n_bits", "checkpoint_coupling")  # fields that do not change the weights
GROWING = ("n_steps", "hidden_width")


def check_growth(name: str, old: GlowConfig, new: GlowConfig) -> None:
    """Check that a model of `old` can be grown to `new`, or has its shape.

    `new` may have 2, 4, ... times the sides, with one level more for each doubling.

    Args:
        name: of the model, for the message.
        old: config of the model.
        new: config to grow it to.

    Raises:
        InputError: something else than sides, levels, `n_steps`, `hidden_width`, `n_bits` and
            `checkpoint_coupling` differs, one would shrink, or a new step cannot be the identity.
    """
    times = n_doublings(old, new)
    doubles = new.image_height % (2 * old.image_height) == 0
    if times:
        _check_new_levels(name, old, new, times)
        old = enlarged(name, old, new.steps[:times], new.n_detail_levels > 0)
    wrong = [
        f"{f.name} is {getattr(old, f.name)}, not {getattr(new, f.name)}"
        for f in dataclasses.fields(GlowConfig)
        if f.name not in (*FREE, *GROWING) and getattr(old, f.name) != getattr(new, f.name)
    ]
    if not wrong and any(k < was for k, was in zip(new.steps, old.steps, strict=True)):
        wrong.append(f"n_steps is {old.n_steps}, more than {new.n_steps}")
    if new.hidden_width < old.hidden_width:
        wrong.append(f"hidden_width is {old.hidden_width}, more than {new.hidden_width}")
    if wrong:
        hint = "" if times or not doubles else "; twice the sides need one level more"
        raise InputError(
            f"init: {name} is another model than the one to train: its {'; its '.join(wrong)}{hint}"
        )
    if new.n_steps == old.n_steps:
        return
    if new.permutation in ("reverse", "shuffle"):
        raise InputError(
            f"init: {name} has fixed permutations ({new.permutation}), to which no steps can be "
            "added; give its own n_steps"
        )
    if new.coupling == "affine" and new.scale not in IDENTITY_SCALES:
        raise InputError(
            f"init: {name} has affine couplings of scale {new.scale}, to which no steps can be "
            "added; give its own n_steps"
        )


def _check_new_levels(name: str, old: GlowConfig, new: GlowConfig, times: int) -> None:
    """Raise InputError if levels of details are not the finest, or only some of the new ones."""
    all_details = old.n_detail_levels + times
    plain = () if old.n_detail_levels else (0,)
    if new.n_detail_levels not in (all_details, *plain):
        hint = ", or 0 for plain ones" if plain else ""
        raise InputError(
            f"init: n_detail_levels is {new.n_detail_levels}; use {all_details}, so that all "
            f"levels by which {name} is grown are levels of details{hint}"
        )


def grow(model: Glow, config: GlowConfig, *, rngs: nnx.Rngs) -> Glow:
    """A model of a larger config: the same function as `model`, to rounding.

    With more pixels it has the same density of their averages (of 2x2, 4x4, ...) instead.

    Args:
        model: in training form; it is not changed.
        config: as `model.config`, with as many steps in every level or more, and as many hidden
            channels or more; it may have 2, 4, ... times the sides, with one level more for each
            doubling.
        rngs: a `params` stream of random keys, for the first layers of the new channels.

    Raises:
        InputError: `model` cannot be grown to `config`; see `check_growth`.
    """
    check_growth(model.name, model.config, config)
    for n_steps in reversed(config.steps[: n_doublings(model.config, config)]):
        model = enlarge(model, n_steps, config.n_detail_levels > 0, rngs=rngs)
    grown = Glow(config, rngs=rngs, dtype=model.dtype)
    nnx.update(grown.splits, nnx.state(model.splits))
    nnx.update(grown.top, nnx.state(model.top))
    for old, new in zip(model.levels, grown.levels, strict=True):
        assert isinstance(old.steps, Step) and isinstance(new.steps, Step)
        _fill(old.steps, new.steps)
    return grown


def old_positions(n_old: int, n_new: int) -> Int[np.ndarray, " n_old"]:
    """The places of `n_old` steps among `n_new`: evenly spaced, the last one last."""
    return np.arange(1, n_old + 1) * n_new // n_old - 1


def _fill(old: Step, new: Step) -> None:
    """Set the stacked steps `new` to the steps of `old`, with identities between them."""
    n_old, channels = old.norm.bias.shape
    n_new = new.norm.bias.shape[0]
    at = old_positions(n_old, n_new)
    inserted = np.diff(at, prepend=-1) - 1  # before each old step; two exchanges cancel
    exchange = np.roll(np.arange(channels), channels // 2)
    order = np.where((inserted % 2 == 1)[:, None], exchange[None], np.arange(channels)[None])
    for name in ("bias", "logs"):
        values = np.take_along_axis(np.asarray(getattr(old.norm, name)[...]), order, 1)
        _place(getattr(new.norm, name), at, values)
    _fill_mixing(old, new, at, order, exchange)
    _fill_network(old.coupling.network, new.coupling.network, at)


def _place(variable: nnx.Variable, at: np.ndarray, values: np.ndarray | Array) -> None:
    """Set the steps `at` of a stacked array."""
    variable[...] = variable[...].at[at].set(values)


def _fill_mixing(
    old: Step, new: Step, at: np.ndarray, order: np.ndarray, exchange: np.ndarray
) -> None:
    """Exchanges in the new steps; in the old ones their matrix, its rows in `order`."""
    before, after = old.inv_conv, new.inv_conv
    if isinstance(before, ChannelPermutation) or isinstance(after, ChannelPermutation):
        nnx.update(after, nnx.state(before))  # no steps were added
        return
    if isinstance(before, Conv1x1) or isinstance(after, Conv1x1):
        assert isinstance(before, Conv1x1) and isinstance(after, Conv1x1)
        identity = jnp.eye(len(exchange), dtype=after.kernel.dtype)
        after.kernel[...] = jnp.broadcast_to(identity[exchange], after.kernel.shape)
        rows = np.take_along_axis(np.asarray(before.kernel[...]), order[..., None], 1)
        _place(after.kernel, at, rows)
        return
    for factor in (after.lower, after.upper, after.log_s):
        factor[...] = jnp.zeros_like(factor[...])
    after.sign_s[...] = jnp.ones_like(after.sign_s[...])
    after.indices[...] = jnp.broadcast_to(
        jnp.asarray(exchange, after.indices.dtype), after.indices.shape
    )
    for name in ("lower", "upper", "log_s", "sign_s"):
        _place(getattr(after, name), at, getattr(before, name)[...])
    _place(after.indices, at, np.take_along_axis(np.asarray(before.indices[...]), order, 1))


def _fill_network(old: CouplingNetwork, new: CouplingNetwork, at: np.ndarray) -> None:
    """Set the networks of the steps `at`; channels and steps that are new have no effect yet."""
    width, n_new = old.in_norm.bias.shape[1], new.in_norm.bias.shape[1]
    n_in = new.in_kernel.shape[-2] - 1
    _keep_variance(new.in_norm, 9.0 * n_in)
    _keep_variance(new.hidden_norm, n_new / 2)  # ReLU halves the second moment
    _place(new.in_kernel, at, new.in_kernel[...][at].at[..., :width].set(old.in_kernel[...]))
    hidden = new.hidden_kernel[...][at].at[:, width:, :width].set(0)
    _place(new.hidden_kernel, at, hidden.at[:, :width, :width].set(old.hidden_kernel[...]))
    for was, norm in ((old.in_norm, new.in_norm), (old.hidden_norm, new.hidden_norm)):
        for name in ("bias", "logs"):
            variable = getattr(norm, name)
            values = getattr(was, name)[...]
            _place(variable, at, variable[...][at].at[:, :width].set(values))
    kernel, edge = old.out.kernel[...][..., :-1, :], old.out.kernel[...][..., -1:, :]
    none = jnp.zeros((*kernel.shape[:-2], n_new - width, kernel.shape[-1]), kernel.dtype)
    _place(new.out.kernel, at, jnp.concatenate([kernel, none, edge], axis=-2))
    _place(new.out.bias, at, old.out.bias[...])
    _place(new.out.logs, at, old.out.logs[...])
    if old.has_input_norm:
        _place(new.input_scale, at, old.input_scale[...])
        _place(new.input_bias, at, old.input_bias[...])
    if old.scale in ("exp_tanh", "sigmoid_plus"):
        _place(new.scale_parameter, at, old.scale_parameter[...])


def _keep_variance(norm: ActNorm, fan_in: float) -> None:
    """Scales with which random kernels keep the variance of inputs of variance 1."""
    logs = -math.log(NETWORK_INIT_STD * math.sqrt(fan_in)) / LOGSCALE_FACTOR
    norm.logs[...] = jnp.full_like(norm.logs[...], logs)
