"""Check the devices on which JAX computes."""

import jax

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason


def check_platform() -> None:
    """Start JAX's devices, so that a missing platform is reported before anything else fails.

    Raises:
        InputError: there is no device of the platform in `JAX_PLATFORMS`, such as "cuda".
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
