"""A faster jit, for programs that run once."""

import functools
from typing import Any

import jax


def _compiler_options() -> dict[str, bool | int]:
    """Settings that compile sooner: four fifths of these tests' time is the compiler's."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    older_emitters = {"xla_cpu_use_fusion_emitters": False}  # not in every release of XLA
    try:
        jax.jit(lambda: 0, compiler_options=options | older_emitters).lower().compile()
    except jax.errors.JaxRuntimeError:
        return options
    return options | older_emitters


compiled: Any = functools.partial(jax.jit, static_argnums=0, compiler_options=_compiler_options())
