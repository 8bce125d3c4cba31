"""Strict arithmetic, shapes checked at run time, and the fixtures that the tests share.

JAX_ENABLE_X64=1 in the environment runs everything with 64-bit types on; tests of float64
itself turn them on for themselves (`precision`), so one run covers both.
"""

import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.xla_flags import soonest

os.environ.setdefault("XLA_FLAGS", soonest())

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

MANY_MAPS = 20_000
TESTS = itertools.count()
MIN_SECONDS = 0.2  # shortest compile time, in seconds, of a program that the tests keep

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook(
    ["glow_jax", "transfer"], "beartype.beartype"
)  # before they are imported

# What is imported late elsewhere, possibly in a thread: where two threads parse at once, Python
# 3.11 may raise SystemError (python/cpython#106905), and the hook above parses every module anew.
import transfer.api  # noqa: E402
import transfer.methods.paper  # noqa: E402
import transfer.methods.warp  # noqa: E402, F401
from glow_jax.compile_cache import use_compile_cache  # noqa: E402
from glow_jax.config import GlowConfig  # noqa: E402
from tests.support.command_line import make_home  # noqa: E402
from tests.support.models import Precision  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    """beartype finds fault with an annotation inside nnx.State, not with ours."""
    config.addinivalue_line("filterwarnings", "ignore:.*deprecated by PEP 585")


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep compiled programs for the commands and later tests of this run, apart from the user's.

    Each of several pytest processes has a folder of its own: JAX does not write a program in one
    step, so another process could read a part of it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOW_JAX_CACHE", str(tmp_path_factory.mktemp("caches")))
        use_compile_cache()
        # A test may change what a function depends on: no other test may load its program.
        patch.setattr("glow_jax.kept_programs.keep_in", lambda folder: None)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
        yield


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[Precision]:
    """Run a test in each type, with 64-bit types on where it is float64."""
    if request.param == "float32":
        yield Precision(jnp.dtype("float32"), 1e-4)
        return
    with jax.enable_x64(True):
        yield Precision(jnp.dtype("float64"), 1e-10)


@pytest.fixture(autouse=True)
def forget_compiled_code() -> Iterator[None]:
    """Each compiled function keeps memory maps, of which Linux lets a process have 65,530."""
    yield
    if next(TESTS) % 20:
        return
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the run-time check of annotations, which sees a wrong argument first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def tiny() -> GlowConfig:
    """The smallest config with everything that can go wrong: levels, a split, a scan."""
    return GlowConfig(8, 8, n_levels=2, n_steps=2, hidden_width=8, coupling="affine", n_bits=5)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, two people, expressions and latents."""
    return make_home(tmp_path_factory.mktemp("home"))
