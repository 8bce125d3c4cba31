"""Compiled programs on disk that later processes load without tracing the function again.

JAX's own cache (`glow_jax.compile_cache`) is looked up by the traced program, and tracing takes
most of the time of a verb whose programs are compiled already. Here a program is looked up by what
it is traced from and compiled for: this package's source code, the versions of what it uses, the
processor, JAX's settings, the function, its static arguments, and the structures, shapes and types
of the others. Therefore a function may depend on its arguments and on the source code alone, not on
what a variable holds.

The files are loaded with `pickle`, and hold machine code, with the user's rights: they lie in the
private folder of the compile cache, whose files JAX runs as code too.
"""

import contextlib
import functools
import hashlib
import io
import os
import pickle
import platform
import re
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import jaxlib
import ml_dtypes
import numpy as np
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache
from jaxlib import lapack

from glow_jax.io import kept_files
from glow_jax.io.cache_folders import private_folder

ENDING, RESULT_ENDING = ".program", ".result"
MAX_RESULT_BYTES = 2**25
PACKAGES = (jax, jaxlib, flax, np, ml_dtypes)  # on which a traced program depends
SOURCES = ("glow_jax", "transfer")
UNUSED_S = 30 * 86400.0  # seconds after which programs of other code are removed
ELSEWHERE = ("jax_compilation_cache_dir", "jax_log_compiles")  # settings that change no program
LAPACK = b"lapack_"  # begins the names of LAPACK's functions in a program
WITHOUT_LIBRARY = frozenset({"Sharding"})  # names of calls that XLA itself replaces

_COMPILING = threading.Lock()
_folders: list[Path] = []  # at most one: where programs are kept


def keep_in(folder: Path) -> None:
    """Keep the programs of `kept` functions in a folder from now on, and use those in it.

    On several devices, and on other devices than a CPU, nothing is kept.

    Args:
        folder: private to the user, as of `glow_jax.compile_cache.use_compile_cache`.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    _folders.clear()
    if jax.default_backend() != "cpu" or jax.device_count() > 1:
        return
    home = private_folder(folder / "programs")
    own = home / environment()
    if not own.is_dir():
        _remove_unused(home)
    own = private_folder(own)
    with contextlib.suppress(OSError):
        os.utime(own)
    _folders.append(own)


def kept(function: Callable[..., Any], *, static: Sequence[int | str] = (), **options: Any) -> Any:
    """`jax.jit` of a function, whose programs are kept where `keep_in` has named a folder.

    Args:
        function: of arrays and pytrees of them; it depends on nothing but its arguments.
        static: positions and names of arguments that are part of the program; they can be
            pickled, and equal ones have equal pickles (else a program is only compiled again).
        options: of `jax.jit`.

    Returns:
        The compiled function. Under a transformation, such as `jax.vmap` or `jax.jit`, it is that
        of `jax.jit`.
    """
    positions = tuple(n for n in static if isinstance(n, int))
    names = tuple(n for n in static if isinstance(n, str))
    jitted = jax.jit(function, static_argnums=positions, static_argnames=names, **options)
    label = f"{function.__module__}.{function.__qualname__} {sorted(options.items())}"
    found: dict[Hashable, Any] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _folders:
            return jitted(*args, **kwargs)
        given = [a for i, a in enumerate(args) if i not in positions]
        named = {k: a for k, a in kwargs.items() if k not in names}
        leaves, tree = jax.tree.flatten((tuple(given), named))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return jitted(*args, **kwargs)
        fixed = (
            tuple(a for i, a in enumerate(args) if i in positions),
            tuple(sorted((k, a) for k, a in kwargs.items() if k in names)),
        )
        settings = (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision)  # type: ignore[attr-defined]
        key = (fixed, tree, tuple(map(_kind, leaves)), settings, _folders[0])
        told_apart = (key, _types(fixed))
        program = found.get(told_apart)
        if program is None:
            path = _folders[0] / f"{_digest(label, key[:-1])}{ENDING}"
            program = _loaded(path, tree)
            if program is None:
                lowered = jitted.lower(*args, **kwargs)
                program = _compiled(lowered)
                if (data := _serialised(lowered, program)) is not None:
                    _write(path, data)
            found[told_apart] = program
        return program(*given, **named)

    return call


def kept_result(facts: str, make: Callable[[], Any]) -> Any:
    """What `make` returns, kept where `keep_in` has named a folder, unless it is large.

    Args:
        facts: all that the result depends on beside `environment`.
        make: returns what can be pickled.
    """
    if not _folders:
        return make()
    path = _folders[0] / f"{hashlib.sha256(facts.encode()).hexdigest()}{RESULT_ENDING}"
    found = _read(path)
    if found is None:
        found = make()
        data = pickle.dumps(found, protocol=5)
        if len(data) <= MAX_RESULT_BYTES:
            _write(path, data)
    return found


def environment() -> str:
    """16 hexadecimal digits of all that programs depend on beside a function's arguments."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for package in SOURCES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    settings = {name: value for name, value in jax.config.values.items() if name not in ELSEWHERE}
    versions = [(package.__name__, package.__version__) for package in PACKAGES]
    flags = [(name, os.environ.get(name)) for name in ("XLA_FLAGS", "JAX_ENABLE_X64")]
    facts = (platform.python_version(), processor(), versions, flags, sorted(settings.items()))
    digest.update(repr(facts).encode())
    return digest.hexdigest()[:16]


def processor() -> str:
    """The processor and its instruction sets: a program runs on no other, on a shared disk too."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    names = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(names)}))


def _types(fixed: Any) -> Hashable:
    """What equal static arguments can differ in: 1, 1.0 and True are equal, so are 0.0 and -0.0."""
    if isinstance(fixed, tuple):
        return tuple(map(_types, fixed))
    return type(fixed), repr(fixed) if isinstance(fixed, float) else None


def _kind(leaf: Any) -> Hashable:
    """What of an argument's leaf a program depends on."""
    if hasattr(leaf, "shape"):
        return leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False)
    return type(leaf).__name__


def _digest(label: str, key: tuple[Any, ...]) -> str:
    fixed, *others = key
    facts = "\0".join([label, *map(str, others)]).encode()
    pickled = io.BytesIO()
    pickler = pickle.Pickler(pickled, protocol=5)
    pickler.fast = True  # equal values give equal bytes, whichever parts of them are one object
    pickler.dump(fixed)
    return hashlib.sha256(facts + pickled.getvalue()).hexdigest()


def _loaded(path: Path, tree: Any) -> Any:
    """The program of a file; None if there is none that can be used: one that cannot is removed."""
    found = _read(path)
    if found is None:
        return None
    try:
        payload, out_tree = found
        payload = zlib.decompress(payload)
        if LAPACK in payload:  # else JAX does this when it traces
            lapack.prepare_lapack_call("getrf_ffi", np.dtype(np.float32))
        return serialize_executable.deserialize_and_load(
            payload, tree, out_tree, execution_devices=jax.devices()[:1]
        )
    except Exception:  # of another build of JAX of the same version; it raises many types
        kept_files.remove(path)
        return None


def _read(path: Path) -> Any:
    """What a file holds; None if there is no such file, or a damaged one, which is removed."""
    data = kept_files.read(path)
    if data is not None:
        try:
            return pickle.loads(data)
        except Exception:  # of a class that another version has elsewhere
            kept_files.remove(path)
    return None


def _compiled(lowered: Any) -> Any:
    """Compile without JAX's own cache.

    A program that was read from that cache lacks functions once it is written and read again
    (jaxlib 0.10.2, CPU).
    """
    with _COMPILING:
        before = jax.config.values["jax_enable_compilation_cache"]
        jax.config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()  # JAX looks at the setting once
        try:
            return lowered.compile()
        finally:
            jax.config.update("jax_enable_compilation_cache", before)
            compilation_cache.reset_cache()


def _serialised(lowered: Any, program: Any) -> bytes | None:
    """A program as bytes; None where JAX cannot write it.

    None too if it calls a library other than LAPACK, which each process must prepare.
    """
    called = set(re.findall(r'custom_call @"?([\w.$]+)', lowered.as_text()))
    if not all(name.encode().startswith(LAPACK) for name in called - WITHOUT_LIBRARY):
        return None
    try:
        payload, _, out_tree = serialize_executable.serialize(program)
        return pickle.dumps((zlib.compress(payload, 1), out_tree), protocol=5)
    except (ValueError, NotImplementedError, TypeError, pickle.PicklingError):
        return None


def _write(path: Path, data: bytes) -> None:
    """Write a file.

    Nothing is written once source code or settings are others than those that name the folder, as
    after an update while a page is served: the result may be that of the new ones.
    """
    if path.parent.name == environment():
        kept_files.write(path, data)


def _remove_unused(home: Path) -> None:
    """Remove the folders of other code or settings that no process has used for 30 days."""
    for folder in home.iterdir():
        with contextlib.suppress(OSError):
            if not folder.is_symlink() and folder.stat().st_mtime < time.time() - UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)
