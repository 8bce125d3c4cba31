"""Print the properties of a model, for `info` and `convert`."""

from typing import Any

from glow_jax.io.messages import counted, one_line

SHOWN_IF_SET = (  # fields of GlowConfig that are printed only if they differ from the default
    "learned_top_prior",
    "n_classes",
    "scale",
    "scale_first",
    "conditioning",
    "leaky_slope",
    "input_norm",
    "prior",
    "logit_alpha",
)


def print_config(config: Any) -> None:
    """Print a config: size, structure, other fields that are not at their defaults, and FLOP."""
    import dataclasses

    from glow_jax.config import GlowConfig
    from glow_jax.flops import flops_per_image

    size = f"{config.image_width}x{config.image_height}"
    print(f"images        {size}, {counted(config.n_channels, 'channel')}")
    print(f"trained at    {counted(config.n_bits, 'bit')}")
    if not isinstance(config, GlowConfig):
        levels = counted(config.n_levels, "level")
        print(f"function      a TensorFlow graph's own operations, {levels}")
        return
    print(f"shape         L {config.n_levels}, K {config.n_steps}, width {config.hidden_width}")
    print(f"function      {config.coupling} coupling, {config.permutation} permutation")
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name in SHOWN_IF_SET:
        if (value := getattr(config, name)) != defaults[name]:
            print(f"{'':<13} {name} {value}")
    print(f"work          {flops_per_image(config) / 1e9:.3g} GFLOP an encode or decode")


def print_fact(name: str, value: Any) -> None:
    """Print a field of a card; a list or an object takes one line per entry."""
    if isinstance(value, dict):
        for key, item in value.items():
            print_fact(f"{name}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            print_fact(name, item)
    elif isinstance(value, str | int | float):
        print(f"{one_line(name):<13} {one_line(value)}")
