"""Floating-point operations of one encode or decode, computed from shapes."""

from glow_jax.config import GlowConfig


def flops_per_image(config: GlowConfig) -> int:
    """Floating-point operations of the products in one encode (a decode has as many).

    A product of (M, K) and (K, N) counts 2 M K N. Counted: the coupling networks' three
    convolutions, the 1x1 convolutions, the split priors. Not counted: sums, ReLUs, and the
    implementation's overhead (the edge indicator's column, padding), so that a utilisation of the
    hardware, computed from this number, includes useful work only.
    """
    width = config.hidden_width
    total = 0
    for level in range(config.n_levels):
        height, columns, channels = config.level_shape(level)
        half = channels // 2
        n_out = half if config.coupling == "additive" else channels
        mixing = channels**2 if config.permutation in ("dense", "lu") else 0
        # A checkerboard has all channels at half the pixels: the convolutions' sizes are the
        # same as those of half the channels at all pixels, the hidden layer's is half.
        hidden = width**2 // 2 if config.conditioning in ("odd", "even") else width**2
        step = 9 * half * width + hidden + 9 * width * n_out + mixing
        passed = config.n_passed(level)
        split = 9 * passed * 2 * (channels - passed) if config.prior == "conditional" else 0
        total += 2 * height * columns * (config.steps[level] * step + split)
    return total
