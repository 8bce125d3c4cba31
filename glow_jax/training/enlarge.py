"""Make a model of pictures with twice the sides, with the same density of averages of 2x2 pixels.

The first step of the new finest level is a Haar transform: of every 2x2 pixels and each colour, it
computes the average and three details. The next steps leave the averages as they are, and move each
group of details in turn to the half of the channels that the coupling changes.

A detail level splits off all details, and the levels of the old model follow as they are. Any other
level splits off half of its channels: in the levels of the old model, which follow, the old weights
then act on the averages alone, and the details that were not split off take up the other channels,
with no effect on the averages and a standard normal prior.

The model so begins as a flow of details beside that of the coarser picture, after Yu, Derpanis and
Brubaker 2020, "Wavelet Flow". Training then moves all weights, or those of the new levels
(`TrainConfig.n_trained_levels`).
"""

import dataclasses

import jax
import numpy as np
import scipy.linalg
from flax import nnx
from jaxtyping import Float, Int

from glow_jax.config import GlowConfig
from glow_jax.coupling import CouplingNetwork
from glow_jax.flow_step import Step
from glow_jax.io.errors import InputError
from glow_jax.layers import LOGSCALE_FACTOR, Conv1x1, Conv1x1LU, ZeroConv
from glow_jax.model import Glow, Level
from glow_jax.prior import SplitPrior, TopPrior

Places = Int[np.ndarray, " n"]
HAAR = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 4
IDENTITY_SCALES = ("exp", "exp_tanh")  # scales that are 1 where the network's output is 0
DETAIL_SCALE = 64.0  # details of photographs at 5 bits have deviations of about 1 / 64


def n_doublings(old: GlowConfig, new: GlowConfig) -> int:
    """How often the sides of `old` must be doubled to give those of `new`.

    0 unless `new` has as many more levels.
    """
    times = max(0, new.n_levels - old.n_levels)
    sides = (old.image_height << times, old.image_width << times)
    return times if (new.image_height, new.image_width) == sides else 0


def enlarged(name: str, config: GlowConfig, n_steps: tuple[int, ...], details: bool) -> GlowConfig:
    """The config with sides doubled once for each of `n_steps`.

    Args:
        name: of the model, for the message.
        config: of the model.
        n_steps: K of each new level, finest first.
        details: whether the new levels are detail levels (`GlowConfig.n_detail_levels`).

    Raises:
        InputError: a model of `config` cannot be enlarged; the message names the field.
    """
    wrong = [
        f"{field} {getattr(config, field)}"
        for field, accepted in _ACCEPTED.items()
        if getattr(config, field) not in accepted
    ]
    scales = config.coupling == "affine" and config.scale not in IDENTITY_SCALES
    if scales and config.conditioning == "second":  # couplings would scale the averages
        wrong.append(f"conditioning second with scale {config.scale}")
    if wrong:
        raise InputError(
            f"init: {name} cannot be grown to more pixels, because it has {' and '.join(wrong)}; "
            "a model to grow needs 1x1 convolutions, couplings that are conditioned on the first "
            "half of the channels (or on the second, if additive or with scale exp or exp_tanh), "
            "conditional priors and no logit transform"
        )
    if min(n_steps) < 2:
        raise InputError(
            f"init: a new level has {min(n_steps)} step; 2 or more are needed to reach all details"
        )
    times = len(n_steps)
    return dataclasses.replace(
        config,
        image_height=config.image_height << times,
        image_width=config.image_width << times,
        n_levels=config.n_levels + times,
        n_steps=(*n_steps, *config.steps),
        n_detail_levels=config.n_detail_levels + details * times,
    )


_ACCEPTED = {
    "permutation": ("dense", "lu"),
    "conditioning": ("first", "second"),
    "prior": ("conditional",),
    "logit_alpha": (0,),
}


def enlarge(model: Glow, n_steps: int, details: bool, *, rngs: nnx.Rngs) -> Glow:
    """A model of pictures with twice the sides, whose density of 2x2 averages is that of `model`.

    Args:
        model: in training form; it is not changed.
        n_steps: K of the new finest level.
        details: whether it is a detail level; then the others are those of `model`.
        rngs: a `params` stream of random keys, for the coupling networks of that level.

    Raises:
        InputError: `model` cannot be enlarged; see `enlarged`.
    """
    config = enlarged(model.name, model.config, (n_steps,), details)
    large = Glow(config, rngs=rngs, dtype=model.dtype)
    finest, *others = large.levels
    _set_finest(_steps(finest), model.config.n_channels)
    if details:
        for before, after in (
            *zip(model.levels, others, strict=True),
            *zip(model.splits, large.splits[1:], strict=True),
            (model.top, large.top),
        ):
            nnx.update(after, nnx.state(before))
        return large
    for old, new in zip(model.levels, others, strict=True):
        _fill(_steps(old), _steps(new))
    for before, after in zip(model.splits, large.splits[1:], strict=True):
        assert isinstance(before, SplitPrior) and isinstance(after, SplitPrior)
        _fill_convolution(before.conv, after.conv, np.arange(before.conv.bias.shape[-1]))
    assert isinstance(model.top, TopPrior) and isinstance(large.top, TopPrior)
    _fill_top(model.top, large.top)
    return large


def _steps(level: Level) -> Step:
    assert isinstance(level.steps, Step)
    return level.steps


def _set_finest(steps: Step, n: int) -> None:
    """The Haar transform of n colours, then exchanges of the details.

    Channels are [averages, details | details, details], each of n.
    """
    n_steps = steps.norm.bias.shape[0]
    haar = np.zeros((4 * n, 4 * n))
    for colour in range(n):
        haar[4 * colour : 4 * colour + 4, colour::n] = HAAR.T
    exchange = np.eye(4 * n)[[*range(n), *range(3 * n, 4 * n), *range(n, 3 * n)]]
    _set_matrices(steps, np.stack([haar] + [exchange] * (n_steps - 1)))
    logs = np.zeros((n_steps, 4 * n))
    logs[1, n:] = np.log(DETAIL_SCALE) / LOGSCALE_FACTOR
    _set(steps.norm.logs, logs)


def _fill(old: Step, new: Step) -> None:
    """Set the stacked steps of a level to those of the old model, with details beside.

    Channels are [old, details] at the entry of the level, as its squeeze leaves them, and [first
    half of old, details | second half of old, details] after the first step.
    """
    n_steps, n = old.norm.bias.shape
    places, details = _places(n), _places(n) + n // 2
    detail_outputs = np.roll(details, n // 2)
    old_matrices, matrices = _matrices(old), np.zeros((n_steps, 2 * n, 2 * n))
    for i in range(n_steps):
        inputs, detail_inputs = (np.arange(n), n + np.arange(n)) if i == 0 else (places, details)
        matrices[i][np.ix_(inputs, places)] = old_matrices[i]
        matrices[i][detail_inputs, detail_outputs] = 1
    _set_matrices(new, matrices)
    for name in ("bias", "logs"):
        values, wider = np.asarray(getattr(old.norm, name)[...]), np.zeros((n_steps, 2 * n))
        wider[0, :n], wider[1:, places] = values[0], values[1:]
        _set(getattr(new.norm, name), wider)
    _fill_network(old.coupling.network, new.coupling.network)


def _places(n: int) -> Places:
    """The channels that hold the n old ones, among 2 n, after the first step of a level."""
    return np.concatenate([np.arange(n // 2), n + np.arange(n // 2)])


def _matrices(steps: Step) -> Float[np.ndarray, "K C C"]:
    """The matrices of stacked 1x1 convolutions, float64."""
    layer = steps.inv_conv
    if isinstance(layer, Conv1x1):
        return np.asarray(layer.kernel[...], np.float64)
    assert isinstance(layer, Conv1x1LU)
    lower, upper, log_s, sign_s = (
        np.asarray(getattr(layer, name)[...], np.float64)
        for name in ("lower", "upper", "log_s", "sign_s")
    )
    identity = np.eye(lower.shape[-1])
    diagonal = (sign_s * np.exp(log_s))[..., None] * identity
    product = (np.tril(lower, -1) + identity) @ (np.triu(upper, 1) + diagonal)
    return np.take_along_axis(product, np.asarray(layer.indices[...])[..., None], 1)


def _set_matrices(steps: Step, matrices: Float[np.ndarray, "K C C"]) -> None:
    layer = steps.inv_conv
    if isinstance(layer, Conv1x1):
        _set(layer.kernel, matrices)
        return
    assert isinstance(layer, Conv1x1LU)
    permutation, lower, upper = map(np.stack, zip(*map(scipy.linalg.lu, matrices), strict=True))
    diagonal = np.diagonal(upper, axis1=1, axis2=2)
    _set(layer.indices, permutation.argmax(2))
    _set(layer.lower, np.tril(lower, -1))
    _set(layer.upper, np.triu(upper, 1))
    _set(layer.log_s, np.log(np.abs(diagonal)))
    _set(layer.sign_s, np.sign(diagonal))


def _fill_network(old: CouplingNetwork, new: CouplingNetwork) -> None:
    """The same hidden layers; details neither enter nor are changed yet."""
    _set(new.in_kernel, _among(old.in_kernel, new.in_kernel.shape))
    nnx.update(new.in_norm, nnx.state(old.in_norm))
    nnx.update(new.hidden_norm, nnx.state(old.hidden_norm))
    _set(new.hidden_kernel, old.hidden_kernel)
    _fill_convolution(old.out, new.out, np.arange(old.out.bias.shape[-1]))
    if old.has_input_norm:
        _set_first(new.input_scale, old.input_scale)
        _set_first(new.input_bias, old.input_bias)
    if old.scale in ("exp_tanh", "sigmoid_plus"):
        _set_first(new.scale_parameter, old.scale_parameter)


def _fill_convolution(old: ZeroConv, new: ZeroConv, outputs: Places) -> None:
    """The old weights to the channels `outputs`, and from the first inputs and the edge."""
    shape = new.kernel.shape
    kernel = np.zeros(shape)
    kernel[..., outputs] = _among(old.kernel, (*shape[:-1], old.kernel.shape[-1]))
    _set(new.kernel, kernel)
    for before, after in ((old.bias, new.bias), (old.logs, new.logs)):
        _set_at(after, before, outputs)


def _fill_top(old: TopPrior, new: TopPrior) -> None:
    """Means and log deviations of the old channels; those of the details are 0."""
    n = old.shape[2]
    outputs = np.concatenate([_places(n), 2 * n + _places(n)])
    if old.conv is not None and new.conv is not None:
        _fill_convolution(old.conv, new.conv, outputs)
    if old.n_classes:
        _set_at(new.class_kernel, old.class_kernel, outputs)
        _set_at(new.class_bias, old.class_bias, outputs)
        _set_at(new.class_logs, old.class_logs, outputs)


def _among(kernel: nnx.Variable, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel with more inputs, of weight 0, between the old ones and the edge indicator."""
    values, wider = np.asarray(kernel[...]), np.zeros(shape)
    wider[..., : values.shape[-2] - 1, :] = values[..., :-1, :]
    wider[..., -1, :] = values[..., -1, :]
    return wider


def _set(variable: nnx.Variable, values: nnx.Variable | np.ndarray) -> None:
    """Set an array, whose dtype and shape are kept."""
    assert values.shape == variable.shape
    variable[...] = jax.device_put(np.asarray(values[...]).astype(variable.dtype))


def _set_at(variable: nnx.Variable, values: nnx.Variable, places: Places) -> None:
    """Set the channels `places` of an array; the others keep their values."""
    changed = np.array(variable[...])
    changed[..., places] = values[...]
    _set(variable, changed)


def _set_first(variable: nnx.Variable, values: nnx.Variable) -> None:
    """Set the first channels of an array; the others keep their values."""
    _set_at(variable, values, np.arange(values.shape[-1]))
