"""The peer: normflows' Glow blocks in PyTorch, with the same L, K and width, and its variants.

normflows (MIT) is the fastest Glow on PyPI that runs here. It is set up to be fast: the
data-dependent initialisation is marked as done, gradients are off, and its coupling is additive
like ours. Its latents are not standardised by a prior and its priors do not depend on z1, so it
does slightly less work than our encode.
"""

import time
import types
from collections.abc import Callable
from typing import Any

from bench.speed import models
from bench.speed.ours import Contestant
from glow_jax.config import GlowConfig
from glow_jax.flops import flops_per_image


def prepare(spec: dict[str, Any]) -> Contestant:
    """Build normflows' model in one of its variants and warm both directions up.

    Args:
        spec: preset, batch, variant (words: eager, channels-last, compiled), seed, cores.

    Raises:
        ImportError: torch or normflows is not installed.
    """
    import torch

    torch.set_num_threads(spec["cores"])
    torch.manual_seed(spec["seed"])
    torch.set_grad_enabled(False)
    config = models.preset(spec["preset"])
    start = time.perf_counter()
    model = _model(config)
    memory_format = torch.contiguous_format
    if "channels-last" in spec["variant"]:
        memory_format = torch.channels_last
        model = model.to(memory_format=memory_format)
    if "compiled" in spec["variant"]:
        _compile_blocks(model)
    facts: dict[str, Any] = {"build_s": time.perf_counter() - start}

    shape = (spec["batch"], config.n_channels, config.image_height, config.image_width)
    x = (torch.rand(shape) - 0.5).contiguous(memory_format=memory_format)

    start = time.perf_counter()
    z, _ = model.inverse_and_log_det(x)
    facts["encode"] = {"first_run_s": time.perf_counter() - start}
    z = [a.contiguous(memory_format=memory_format) for a in z]
    start = time.perf_counter()
    back, _ = model.forward_and_log_det(z)
    facts["decode"] = {"first_run_s": time.perf_counter() - start}
    facts["round_trip_grey_levels"] = 256 * float((back - x).abs().max())

    runs: dict[str, Callable[[], object]] = {
        "encode": lambda: model.inverse_and_log_det(x),
        "decode": lambda: model.forward_and_log_det(z),
    }
    facts["gflop"] = dict.fromkeys(runs, flops_per_image(config) * spec["batch"] / 1e9)
    return Contestant(facts, runs)


def _model(config: GlowConfig) -> Any:
    """normflows' multiscale Glow; its levels run coarse to fine."""
    import normflows
    import torch

    priors, levels = [], []
    for level in reversed(range(config.n_levels)):
        channels = config.level_shape(level)[2]
        blocks = [
            normflows.flows.GlowBlock(channels, config.hidden_width, scale=False)
            for _ in range(config.steps[level])
        ]
        levels.append([*blocks, normflows.flows.Squeeze()])
        height, width, latent = config.latent_shapes[level]
        priors.append(normflows.distributions.DiagGaussian((latent, height, width)))
    merges = [normflows.flows.Merge() for _ in levels[1:]]
    model = normflows.MultiscaleFlow(priors, levels, merges, class_cond=False).eval()
    for module in model.modules():
        if isinstance(module, normflows.flows.ActNorm):
            # A plain bool: reading a tensor would synchronise in every step.
            del module.data_dep_init_done
            module.data_dep_init_done = True
            module.s.add_(models.SCALE * torch.randn_like(module.s))
            module.t.add_(models.SCALE * torch.randn_like(module.t))
        if isinstance(module, normflows.nets.ConvNet2d):
            for parameter in module.parameters():
                parameter.add_(models.SCALE * torch.randn_like(parameter))
    return model


def _compile_blocks(model: Any) -> None:
    """Compile each block's two directions; a level's blocks share one compilation.

    Compiling the whole model would unroll all its steps, which takes too long for this benchmark.
    """
    import normflows
    import torch

    torch._dynamo.config.recompile_limit = 64  # one compilation per level and direction
    forward = torch.compile(normflows.flows.GlowBlock.forward, dynamic=False)
    inverse = torch.compile(normflows.flows.GlowBlock.inverse, dynamic=False)
    for module in model.modules():
        if isinstance(module, normflows.flows.GlowBlock):
            module.forward = types.MethodType(forward, module)
            module.inverse = types.MethodType(inverse, module)
