"""Which part may know of which: DESIGN's arrows, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = {"flax", "jax", "jaxtyping", "ml_dtypes", "numpy", "optax", "orbax", "PIL", "rich", "scipy"}
LAYERS = [  # each may import those before it
    "errors",
    "config",
    "flops",
    "files",
    "compile_cache",
    "pixels",
    "coupling",
    "layers",
    "prior",
    "model",
    "presets",
    "graph_model",
    "images",
    "checkpoints",
    "convert",
    "latents",
    "parallel",
    "train",
    "data",
    "training_log",
    "training_run",
]


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Names of the modules that a file imports, dotted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", sources("glow_jax") + sources("transfer"), ids=lambda p: p.name)
def test_only_core_packages_are_imported_at_the_top(path: Path) -> None:
    import sys

    used = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert used <= CORE | set(sys.stdlib_module_names) | {"glow_jax", "transfer"}


@pytest.mark.parametrize("name", LAYERS)
def test_modules_import_only_from_the_left(name: str) -> None:
    allowed = LAYERS[: LAYERS.index(name)]
    path = ROOT / "glow_jax" / name
    files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    used = {
        module.removeprefix("glow_jax.").split(".")[0]
        for file in files
        for module in imports(file)
        if module.startswith("glow_jax.")
    }
    assert used <= {*allowed, *([name] if path.is_dir() else [])}


def test_every_module_has_its_place() -> None:
    parts = [p.relative_to(ROOT / "glow_jax").parts for p in sources("glow_jax")]
    there = {part[0].removesuffix(".py") for part in parts} - {"__init__", "cli"}
    assert there == set(LAYERS)


def test_the_flow_knows_nothing_of_transfer() -> None:
    for path in sources("glow_jax"):
        if path.name != "cli.py":
            assert not any(m.startswith("transfer") for m in imports(path)), path


def test_the_judge_knows_nothing_of_flows() -> None:
    unknown = ("jax", "flax", "glow_jax", "transfer")
    for path in sources("eval"):
        used = {name.split(".")[0] for name in imports(path)}
        assert not used & set(unknown), path


def test_transfer_knows_nothing_of_the_flow() -> None:
    files_only = tuple(
        f"glow_jax.{name}." for name in ("compile_cache", "errors", "files", "images")
    )
    for path in sources("transfer"):
        if not path.name.endswith("cli.py") and path.name != "models.py":
            ours = [m for m in imports(path) if m.startswith("glow_jax")]
            assert all(m.startswith(files_only) for m in ours), (path, ours)


def test_only_the_command_line_parses_words_or_draws_progress() -> None:
    for path in sources("glow_jax") + sources("transfer") + sources("eval"):
        if not path.name.endswith("cli.py") and path.name != "fit_rendered.py":
            assert not {m for m in imports(path) if m.startswith(("argparse", "rich"))}, path
