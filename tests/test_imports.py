"""Which part may know of which, read from the source of every file."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("glow_jax", "transfer", "eval", "bench")
CORE = {
    "flax",
    "jax",
    "jaxlib",
    "jaxtyping",
    "ml_dtypes",
    "numpy",
    "optax",
    "orbax",
    "PIL",
    "rich",
    "scipy",
}
LAYERS = [  # of glow_jax; each may import those before it
    "io",
    "config",
    "flops",
    "devices",
    "exported",
    "compile_cache",
    "kept_programs",
    "pixels",
    "products",
    "coupling_network",
    "lanes",
    "fused_lanes",
    "layers",
    "coupling",
    "flow_step",
    "prior",
    "program",
    "graph_model",
    "model",
    "model_card",
    "weight_files",
    "shared_levels",
    "checkpoints",
    "convert",
    "latents",
    "exporting",
    "data",
    "training",
    "cli",
]
OF_THE_FLOW = ("transfer.codec", "transfer.models")  # the only ones of `transfer` that know it
WITHOUT_JAX = ("io",)  # of glow_jax


def sources(package: str) -> list[Path]:
    """Every file of a package, however deep."""
    return sorted((ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for package in PACKAGES for path in sources(package)}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Names that a file imports, dotted: of modules, and of what is taken from them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules_used(path: Path, top_level_only: bool = False) -> set[str]:
    """Our own modules that a file imports."""
    used = set()
    for name in imports(path, top_level_only):
        parts = name.split(".")
        for n in range(len(parts), 0, -1):
            if ".".join(parts[:n]) in MODULES:
                used.add(".".join(parts[:n]))
                break
    return used


def is_command_line(module: str) -> bool:
    """Whether a module parses words: it lies in a folder `cli`, or is called so."""
    return "cli" in module.split(".")


def test_every_file_is_looked_at() -> None:
    assert "glow_jax.data.synthetic_faces.people" in MODULES
    assert len(MODULES) == sum(1 for p in PACKAGES for _ in (ROOT / p).rglob("*.py"))


def test_no_module_imports_itself_by_a_way_round() -> None:
    uses = {name: modules_used(path) - {name} for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name in done:
            return
        for used in sorted(uses[name]):
            visit(used, [*way, name])
        done.add(name)

    for name in sorted(uses):
        visit(name, [])


@pytest.mark.parametrize("package", ["glow_jax", "transfer"])
def test_only_core_packages_are_imported_at_the_top(package: str) -> None:
    ours = {"glow_jax", "transfer"}
    for path in sources(package):
        used = {name.split(".")[0] for name in imports(path, top_level_only=True)}
        assert used <= CORE | set(sys.stdlib_module_names) | ours, path


@pytest.mark.parametrize("name", LAYERS)
def test_glow_jax_imports_only_from_the_left(name: str) -> None:
    allowed = {*LAYERS[: LAYERS.index(name) + 1]}
    path = ROOT / "glow_jax" / name
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
        if is_command_line(module_of(file)):
            continue
        used = {m.split(".")[1] for m in modules_used(file) if m.startswith("glow_jax.")}
        assert used <= allowed, file


def test_every_module_of_glow_jax_has_its_place() -> None:
    parts = [p.relative_to(ROOT / "glow_jax").parts for p in sources("glow_jax")]
    assert {part[0].removesuffix(".py") for part in parts} - {"__init__"} == set(LAYERS)


def test_the_flow_knows_nothing_of_transfer_or_the_judge() -> None:
    for path in sources("glow_jax"):
        if not is_command_line(module_of(path)):
            used = {m.split(".")[0] for m in modules_used(path)}
            assert used <= {"glow_jax"}, path


def test_glow_jax_knows_no_faces_outside_their_data_sets() -> None:
    for path in sources("glow_jax"):
        module = module_of(path)
        if not is_command_line(module) and not module.startswith("glow_jax.data."):
            assert not any("_faces" in m for m in modules_used(path)), path


def test_files_and_messages_need_no_jax() -> None:
    for name in WITHOUT_JAX:
        for path in sources(f"glow_jax/{name}"):
            used = {name.split(".")[0] for name in imports(path)}
            assert not used & {"jax", "jaxlib", "flax", "optax", "orbax", "jaxtyping"}, path


def test_the_judge_knows_nothing_of_flows() -> None:
    for path in sources("eval"):
        names = imports(path)
        assert not {n.split(".")[0] for n in names} & {"jax", "flax", "transfer"}, path
        ours = {m for m in modules_used(path) if m.split(".")[0] == "glow_jax"}
        verb = is_command_line(module_of(path))
        fine = ("glow_jax.io", "glow_jax.cli") if verb else ("glow_jax.io",)
        assert all(m.startswith(fine) for m in ours), (path, ours)


def test_transfer_knows_the_flow_in_two_files() -> None:
    for path in sources("transfer"):
        module = module_of(path)
        if module not in OF_THE_FLOW and not is_command_line(module):
            ours = [m for m in modules_used(path) if m.startswith("glow_jax")]
            fine = ("glow_jax.io", "glow_jax.compile_cache", "glow_jax.kept_programs")
            assert all(m.startswith(fine) for m in ours), (path, ours)


def test_only_the_command_line_parses_words_or_draws_progress() -> None:
    for package in ("glow_jax", "transfer", "eval"):
        for path in sources(package):
            if not is_command_line(module_of(path)):
                assert not {m for m in imports(path) if m.startswith(("argparse", "rich"))}, path


A_TEST = re.compile(r"^\s*(?:from|import) (tests\b.*\b(?:test_\w+|conftest)\b.*)", re.MULTILINE)


def test_no_test_imports_another() -> None:
    """What a test hands to another process to run is looked at too."""
    for path in sources("tests"):
        lines = A_TEST.findall(path.read_text(encoding="utf-8"))
        assert not [line for line in lines if module_of(path) not in line], path


@pytest.mark.parametrize(
    "line",
    ["from tests.a.test_b import c", "    import tests.conftest", "from tests import test_a"],
)
def test_an_import_of_a_test_is_seen(line: str) -> None:
    assert A_TEST.findall(f"import csv\n{line}\n")
