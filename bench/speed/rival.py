"""The rival on a GPU: the same Glow in plain PyTorch, channels first, in normflows' layout.

    python -m bench.speed.rival --case '{"variant": "eager channels-last tf32", ...}'

normflows itself (`peers`) reads its normalisations' flags from the device in every step. This
model has the same operations and no such reads: an affine map of the channels as a 1x1 convolution,
and an additive coupling by three convolutions. Weights are random; its round trip is measured.
JAX is not imported.
"""

import argparse
import json
import statistics
import time
from typing import Any

from glow_jax.config import GlowConfig
from glow_jax.flops import flops_per_image

SCALE = 0.005
REPEATS, SECONDS = 7, 2.0


def measured(case: dict[str, Any]) -> dict[str, Any]:
    """Time both directions.

    Args:
        case: config (fields of `GlowConfig`, additive), device ("cuda" or "cpu"), batch, seed,
            variant: words of "eager" or "compiled", "channels-last", and "float32" (at full
            precision), "tf32" or "bf16" (autocast of the coupling networks).

    Raises:
        ImportError: torch is not installed.
    """
    import torch

    config = GlowConfig.from_mapping(case["config"])
    words = set(case["variant"].split())
    torch.manual_seed(case["seed"])
    torch.set_grad_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = "tf32" in words
    torch.backends.cudnn.allow_tf32 = "tf32" in words
    torch.backends.cudnn.benchmark = True
    device = torch.device(case["device"])
    layout = torch.channels_last if "channels-last" in words else torch.contiguous_format
    flow = _Flow(config, device, layout, "bf16" in words)
    if "compiled" in words:
        flow.run_forward = torch.compile(flow.step_forward, dynamic=False)
        flow.run_inverse = torch.compile(flow.step_inverse, dynamic=False)
    shape = (case["batch"], config.n_channels, config.image_height, config.image_width)
    x = (torch.rand(shape, device=device) - 0.5).contiguous(memory_format=layout)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    begin = time.perf_counter()
    z = flow.encode(x)
    back = flow.decode(z)
    wait()
    row: dict[str, Any] = {"torch": torch.__version__, "compile_s": time.perf_counter() - begin}
    row["round_trip_grey_levels"] = 256 * float((back - x).abs().max())
    for name, run in (("encode", lambda: flow.encode(x)), ("decode", lambda: flow.decode(z))):
        walls: list[float] = []
        while len(walls) < REPEATS and (not walls or sum(walls) < SECONDS):
            begin = time.perf_counter()
            run()
            wait()
            walls.append(time.perf_counter() - begin)
        rate = case["batch"] / statistics.median(walls)
        tflop = rate * flops_per_image(config) / 1e12
        row[name] = {"images_per_s": rate, "tflop_per_s": tflop, "runs": walls}
    if device.type == "cuda":
        row["device_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return row


class _Flow:
    """Weights, and both directions."""

    def __init__(self, config: GlowConfig, device: Any, layout: Any, bf16: bool):
        import torch

        self.device, self.layout, self.bf16 = device, layout, bf16
        self.levels = []
        self.run_forward: Any = self.step_forward
        self.run_inverse: Any = self.step_inverse
        width = config.hidden_width

        def kernel(*shape: int, scale: float) -> Any:
            made = scale * torch.randn(*shape, device=device)
            return made.contiguous(memory_format=layout) if len(shape) == 4 else made

        for level in range(config.n_levels):
            c = config.level_shape(level)[2]
            steps = []
            for _ in range(config.steps[level]):
                mix = torch.linalg.qr(torch.randn(c, c, device=device))[0]
                network = [
                    (kernel(width, c // 2, 3, 3, scale=0.05), kernel(width, scale=SCALE)),
                    (kernel(width, width, 1, 1, scale=0.05), kernel(width, scale=SCALE)),
                    (kernel(c // 2, width, 3, 3, scale=SCALE), kernel(c // 2, scale=SCALE)),
                ]
                shift = kernel(c, scale=SCALE)
                mixes = [m[..., None, None].contiguous() for m in (mix, torch.linalg.inv(mix))]
                steps.append((*mixes, shift, network))
            self.levels.append(steps)

    def network(self, h: Any, weights: Any) -> Any:
        import torch
        from torch.nn.functional import conv2d, relu

        (k1, b1), (k2, b2), (k3, b3) = weights
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            h = relu(conv2d(h, k1, b1, padding=1))
            return conv2d(relu(conv2d(h, k2, b2)), k3, b3, padding=1).float()

    def step_forward(self, h: Any, step: Any) -> Any:
        import torch

        mix, _, shift, network = step
        h = torch.nn.functional.conv2d(h, mix, shift)
        x1, x2 = h.chunk(2, 1)
        return torch.cat([x1, x2 + self.network(x1, network)], 1)

    def step_inverse(self, h: Any, step: Any) -> Any:
        import torch

        _, mix, shift, network = step
        x1, x2 = h.chunk(2, 1)
        h = torch.cat([x1, x2 - self.network(x1, network)], 1)
        return torch.nn.functional.conv2d(h - shift[:, None, None], mix)

    def encode(self, x: Any) -> list[Any]:
        from torch.nn.functional import pixel_unshuffle

        latents, h = [], x
        for i, steps in enumerate(self.levels):
            h = pixel_unshuffle(h, 2).contiguous(memory_format=self.layout)
            for step in steps:
                h = self.run_forward(h, step)
            if i < len(self.levels) - 1:
                h, z = h.chunk(2, 1)
                latents.append(z)
        return [*latents, h]

    def decode(self, latents: list[Any]) -> Any:
        import torch
        from torch.nn.functional import pixel_shuffle

        h = latents[-1]
        for i in reversed(range(len(self.levels))):
            if i < len(self.levels) - 1:
                h = torch.cat([h, latents[i]], 1)
            h = h.contiguous(memory_format=self.layout)
            for step in reversed(self.levels[i]):
                h = self.run_inverse(h, step)
            h = pixel_shuffle(h, 2)
        return h


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.speed.rival")
    parser.add_argument("--case", required=True, help="JSON of the case")
    print(json.dumps(measured(json.loads(parser.parse_args().case))))
