"""Make `golden/normflows_*.npz`: models of PyPI's normflows with random weights, and their outputs.

    python -m tests.support.make_normflows_goldens

Run by hand with torch and normflows 1.7.3 installed; the tests that read the files need neither.
Each file holds, layouts as normflows has them for `state/` and ours (NHWC) for the rest:

    state/NAME      the state_dict
    settings        JSON: image_size, the converter's settings, the GlowConfig fields expected
    x, label        images in [-0.5, 0.5) and, where the model has classes, their labels
    z_I, log_prob   what normflows makes of them, in float64; I = 0 is the finest level
    drawn_I, image  latents of no image, and what normflows decodes them to
"""

import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import normflows
import numpy as np
import torch

from tests.support.paths import GOLDEN

N_CLASSES = 3
ALPHA = 0.05
SHIFT = 0.5  # normflows sees u8 / 256, whatever its transform makes of it
WIDTH = 4

SCALES = {"additive": None, "sigmoid": "sigmoid", "exp": "exp", "sigmoid_inv": "inverse_sigmoid"}
CONDITIONING = {
    "channel": "first",
    "channel_inv": "second",
    "checkerboard": "odd",
    "checkerboard_inv": "even",
}
BASES = ("diagonal", "diagonal classes", "glow", "glow classes", "mixed")
TRANSFORMS = ("none", "shift", "logit")


class Shape(NamedTuple):
    """Sizes of a model; `steps` finest level first.

    The levels of the smaller ones are the coarser levels of the larger ones, so that tests which
    compile operation by operation compile each once.
    """

    height: int
    width: int
    channels: int
    steps: tuple[int, ...]


SHAPES = {
    "one level": Shape(4, 8, 4, (2,)),
    "two levels": Shape(8, 16, 2, (2, 1)),
    "three levels": Shape(16, 32, 1, (1, 2, 1)),
}


class Spec(NamedTuple):
    """One of normflows' Glows."""

    scale: str = "sigmoid"
    split_mode: str = "channel"
    leaky: float = 0.0
    use_lu: bool = True
    net_actnorm: bool = False
    base: str = "diagonal"
    transform: str = "none"
    shape: str = "two levels"
    double: bool = False  # how the weights are stored

    @property
    def has_classes(self) -> bool:
        return self.base in ("diagonal classes", "glow classes", "mixed")

    def settings(self) -> dict[str, str]:
        """What the converter is told."""
        told = {"split_mode": self.split_mode, "leaky": str(self.leaky)}
        told["transform"] = self.transform
        if self.transform == "logit":
            told["logit_alpha"] = str(ALPHA)
        return told | ({} if self.scale == "additive" else {"scale_map": self.scale})

    def fields(self) -> dict[str, Any]:
        """What the config must become."""
        steps = SHAPES[self.shape].steps
        return {
            "n_levels": len(steps),
            "n_steps": steps[0] if len(set(steps)) == 1 else list(steps),
            "n_channels": SHAPES[self.shape].channels,
            "hidden_width": WIDTH,
            "coupling": "additive" if self.scale == "additive" else "affine",
            "scale": SCALES[self.scale] or "sigmoid",
            "conditioning": CONDITIONING[self.split_mode],
            "leaky_slope": self.leaky,
            "permutation": "lu" if self.use_lu else "dense",
            "prior": "position",
            "n_classes": N_CLASSES if self.has_classes else 0,
            "logit_alpha": ALPHA if self.transform == "logit" else 0.0,
        }


def build(spec: Spec, seed: int = 0) -> normflows.MultiscaleFlow:
    """The model, every parameter random and every masked triangle full of garbage."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # tiny matrices
    shape = SHAPES[spec.shape]
    bases, levels = [], []
    for level in reversed(range(len(shape.steps))):  # normflows goes coarse to fine
        n = shape.channels * 4 * 2**level
        block = {
            "scale": spec.scale != "additive",
            "scale_map": "sigmoid" if spec.scale == "additive" else spec.scale,
            "split_mode": spec.split_mode,
            "leaky": spec.leaky,
            "use_lu": spec.use_lu,
            "net_actnorm": spec.net_actnorm,
        }
        steps = [normflows.flows.GlowBlock(n, WIDTH, **block) for _ in range(shape.steps[level])]
        levels.append([*steps, normflows.flows.Squeeze()])
        is_top = level == len(shape.steps) - 1
        small = shape.height >> level + 1, shape.width >> level + 1
        bases.append(_base(spec.base, (n if is_top else n // 2, *small), is_top))
    merges = [normflows.flows.Merge() for _ in levels[1:]]
    transform = {
        "none": None,
        "shift": normflows.transforms.Shift(-SHIFT),
        "logit": normflows.transforms.Logit(ALPHA),
    }[spec.transform]
    model = normflows.MultiscaleFlow(bases, levels, merges, transform, class_cond=spec.has_classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            _randomise(module, generator)
    return (model.double() if spec.double else model).eval()


def _base(kind: str, shape: tuple[int, int, int], is_top: bool) -> Any:
    """A base distribution; "mixed" has classes at the top only."""
    distributions = normflows.distributions
    if kind == "glow":
        return distributions.GlowBase(shape)
    if kind == "glow classes" or (kind == "mixed" and is_top):
        return distributions.GlowBase(shape, num_classes=N_CLASSES)
    if kind == "diagonal classes":
        return distributions.ClassCondDiagGaussian(shape, N_CLASSES)
    return distributions.DiagGaussian(shape)


def _randomise(module: torch.nn.Module, generator: torch.Generator) -> None:
    def noise(like: torch.Tensor, scale: float) -> torch.Tensor:
        return scale * torch.randn(like.shape, generator=generator)

    if isinstance(module, normflows.flows.ActNorm):
        module.s.add_(noise(module.s, 0.2))
        module.t.add_(noise(module.t, 0.3))
        module.data_dep_init_done.fill_(1)
    elif isinstance(module, normflows.flows.Invertible1x1Conv) and module.use_lu:
        module.log_S.add_(noise(module.log_S, 0.1))
        module.L.add_(torch.tril(noise(module.L, 0.1), -1) + torch.triu(noise(module.L, 3.0)))
        module.U.add_(torch.triu(noise(module.U, 0.1), 1) + torch.tril(noise(module.U, 3.0)))
    elif isinstance(module, normflows.flows.Invertible1x1Conv):
        module.W.add_(noise(module.W, 0.05))
    elif isinstance(module, torch.nn.Conv2d):
        module.weight.add_(noise(module.weight, 0.5 / module.weight[0].numel() ** 0.5))
        if module.bias is not None:
            module.bias.add_(noise(module.bias, 0.2))
    elif isinstance(module, normflows.distributions.BaseDistribution):
        for parameter in module.parameters():
            parameter.add_(noise(parameter, 0.2))


def outputs(spec: Spec, model: normflows.MultiscaleFlow, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a golden file; `model` is left in float64."""
    shape = SHAPES[spec.shape]
    state = {f"state/{k}": v.numpy().copy() for k, v in model.state_dict().items()}
    model.double()
    rng = np.random.default_rng(seed)
    x = (rng.integers(0, 256, (2, *shape[:3])) + 0.5) / 256 - 0.5
    label = torch.tensor([2, 0]) if spec.has_classes else None
    with torch.no_grad():
        z = model.inverse_and_log_det(_theirs(x))[0]
        log_prob = model.log_prob(_theirs(x), label)
        drawn = [a + 0.3 * torch.from_numpy(rng.standard_normal(a.shape)) for a in z]
        image = model.forward_and_log_det([a.clone() for a in drawn])[0]
    told = {
        "image_size": shape[:2],
        "settings": spec.settings(),
        "fields": spec.fields(),
    }
    arrays = {
        **state,
        "settings": np.asarray(json.dumps(told)),
        "x": x,
        "log_prob": log_prob.numpy(),
        "image": _ours(image) - SHIFT,
    }
    if label is not None:
        arrays["label"] = label.numpy().astype(np.int32)
    for i, (a, b) in enumerate(zip(reversed(z), reversed(drawn), strict=True)):
        arrays |= {f"z_{i}": _ours(a), f"drawn_{i}": _ours(b)}
    return arrays


def _theirs(x: np.ndarray) -> torch.Tensor:
    """NCHW, u8 / 256; a new one each time, for Shift works in place."""
    return torch.from_numpy(np.ascontiguousarray((x + SHIFT).transpose(0, 3, 1, 2)))


def _ours(x: torch.Tensor) -> np.ndarray:
    return x.permute(0, 2, 3, 1).numpy().copy()


GOLDENS = {
    "default": Spec(shape="two levels"),
    "exp_classes_logit": Spec(
        "exp", "channel_inv", 0.1, False, True, "glow classes", "logit", "one level"
    ),
    "checkerboard_shift": Spec(
        "sigmoid_inv", "checkerboard", 0.1, True, True, "glow", "shift", "one level"
    ),
    "additive_classes": Spec(
        "additive", "checkerboard_inv", 0.0, False, False, "diagonal classes", "none", "two levels"
    ),
}


def every_spec(**choices: tuple[Any, ...]) -> Iterator[Spec]:
    """The product of some of the options."""
    for values in itertools.product(*choices.values()):
        yield Spec(**dict(zip(choices, values, strict=True)))


def main() -> None:
    """Write the files."""
    for number, (name, spec) in enumerate(GOLDENS.items()):
        path = GOLDEN / f"normflows_{name}.npz"
        np.savez_compressed(path, **outputs(spec, build(spec, number), number))
        print(f"{path}: {path.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()
