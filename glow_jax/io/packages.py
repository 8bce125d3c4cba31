"""Optional packages: whether they are installed, asked before any work is done; files in them."""

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint, one_line, reason


def installed(module: str) -> bool:
    """Whether a top-level module is installed; the module is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # from an import hook; from a module without a spec
        return False


def version(package: str) -> str:
    """The version of an installed package, or "unknown": glow-jax may run from a bare clone."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def need(extra: str, *modules: str) -> None:
    """Check that modules of an extra of this package are installed.

    Raises:
        InputError: a module is not installed; the message names it and the way to install it.
    """
    for name in modules:
        if not installed(name):
            raise InputError(f"{name} is not installed: {install_hint(extra)}")


def folder(extra: str, package: str) -> Path:
    """Where a package (as imported) of an extra is installed; it is not imported.

    Raises:
        InputError: it is not installed.
    """
    need(extra, package)
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def checked(extra: str, package: str, path: Path, sha256: str) -> Path:
    """The path of a package's file whose SHA-256, hexadecimal, is as it should be.

    Raises:
        InputError: the file cannot be read, or is another version's.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{one_line(path)}: cannot be read ({reason(error)})") from error
    if found != sha256:
        raise InputError(
            f"{one_line(path)}: its SHA-256 starts with {found[:12]}, but {sha256[:12]} is needed: "
            f"another version of {package} is installed; {install_hint(extra)}"
        )
    return path
