"""Lines about a model, for `info` and `convert`."""

from typing import Any

from glow_jax.io.messages import one_line


def print_config(config: Any) -> None:
    """Print a config, what differs from the defaults, and the work of one image."""
    import dataclasses

    from glow_jax.config import GlowConfig
    from glow_jax.flops import flops_per_image

    print(f"images        {config.image_width}x{config.image_height}, {config.n_channels} channels")
    print(f"trained at    {config.n_bits} bits")
    if not isinstance(config, GlowConfig):
        print(f"function      a TensorFlow graph's own operations, {config.n_levels} levels")
        return
    print(f"shape         L {config.n_levels}, K {config.n_steps}, width {config.hidden_width}")
    print(f"function      {config.coupling} coupling, {config.permutation} permutation")
    told = ("coupling", "permutation", "n_bits", "checkpoint_coupling")
    for field in dataclasses.fields(config)[6:]:
        value = getattr(config, field.name)
        if value != field.default and field.name not in told:
            print(f"{'':<13} {field.name} {value}")
    print(f"work          {flops_per_image(config) / 1e9:.3g} GFLOP an encode or decode")


def print_fact(name: str, value: Any) -> None:
    """A line of a card; of a list or an object, one line an entry."""
    if isinstance(value, dict):
        for key, item in value.items():
            print_fact(f"{name}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            print_fact(name, item)
    elif isinstance(value, str | int | float):
        print(f"{one_line(name):<13} {one_line(value)}")
