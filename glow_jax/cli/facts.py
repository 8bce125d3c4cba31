"""The properties of a model in words and for JSON, for `info` and `convert`."""

from typing import Any

from glow_jax.io.messages import counted, one_line

SHOWN_IF_SET = (  # fields of GlowConfig that are shown only if they differ from the default
    "learned_top_prior",
    "n_classes",
    "scale",
    "scale_first",
    "conditioning",
    "leaky_slope",
    "input_norm",
    "prior",
    "logit_alpha",
    "n_detail_levels",
)


def config_lines(config: Any) -> list[str]:
    """A config in words: size, structure, fields that are not at their defaults, and FLOP."""
    import dataclasses

    from glow_jax.config import GlowConfig
    from glow_jax.flops import flops_per_image

    size = f"{config.image_width}x{config.image_height}"
    lines = [
        f"images        {size}, {counted(config.n_channels, 'channel')}",
        f"trained at    {counted(config.n_bits, 'bit')}",
    ]
    if not isinstance(config, GlowConfig):
        levels = counted(config.n_levels, "level")
        return [*lines, f"function      a TensorFlow graph's own operations, {levels}"]
    lines += [
        f"shape         L {config.n_levels}, K {config.n_steps}, width {config.hidden_width}",
        f"function      {config.coupling} coupling, {config.permutation} permutation",
    ]
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name in SHOWN_IF_SET:
        if (value := getattr(config, name)) != defaults[name]:
            lines.append(f"{'':<13} {name} {value}")
    gflop = flops_per_image(config) / 1e9
    return [*lines, f"work          {gflop:.3g} GFLOP an encode or decode"]


def facts_of(config: Any) -> dict[str, Any]:
    """A config for JSON: its fields, and the work of an encode or decode."""
    import dataclasses

    from glow_jax.config import GlowConfig
    from glow_jax.flops import flops_per_image

    fields = dataclasses.asdict(config)
    if isinstance(config, GlowConfig):
        fields["gflop"] = flops_per_image(config) / 1e9
    return fields


def fact_lines(name: str, value: Any) -> list[str]:
    """A field of a card in words; a list or an object takes one line per entry."""
    if isinstance(value, dict):
        return [s for key, item in value.items() for s in fact_lines(f"{name}.{key}", item)]
    if isinstance(value, list):
        return [line for item in value for line in fact_lines(name, item)]
    if isinstance(value, str | int | float):
        return [f"{one_line(name):<13} {one_line(value)}"]
    return []
