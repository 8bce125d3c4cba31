"""What JAX computes on."""

import jax

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason


def check_platform() -> None:
    """Start JAX's devices, before anything else of JAX fails for want of them.

    Raises:
        InputError: there is no device of the platform that `JAX_PLATFORMS` names, "cuda" say.
    """
    try:
        jax.devices()
    except Exception as error:  # AssertionError for a known platform, RuntimeError for another
        wanted = jax.config.jax_platforms  # type: ignore[attr-defined]
        if not wanted:
            raise InputError(f"JAX finds no device ({reason(error)})") from None
        raise InputError(
            f"JAX_PLATFORMS={one_line(wanted)}: JAX finds no such device; install JAX for it "
            f"(jax[cuda13], say), or unset JAX_PLATFORMS to take what there is"
        ) from None
