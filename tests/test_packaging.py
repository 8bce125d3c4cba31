"""What is built, declared and promised: wheel and sdist, dependencies, versions, jobs."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import glow_jax
from glow_jax.io.messages import install_hint
from tests.support.paths import ROOT

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
MAKE = (ROOT / "Makefile").read_text(encoding="utf-8")
NOT_COPIED = (".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "shared")
# Of an sdist: tests of every package, a golden file, a page, an example.
OF_THE_SDIST = (
    "Makefile",
    "CITATION.cff",
    "constraints-oldest.txt",
    "bench/__main__.py",
    "docs/index.md",
    "examples/batch.py",
    "mkdocs.yml",
    "tests/conftest.py",
    "tests/golden/README.md",
    "tests/support/paths.py",
)
OF_THE_WHEEL = (
    "glow_jax/models/faces64/config.json",
    "glow_jax/models/faces64/expressions.npz",
    "glow_jax/models/photo128/files.json",
    "glow_jax/models/photo256/files.json",
    "glow_jax/models/photo64/config.json",
    "glow_jax/models/photo64/expressions.npz",
    "glow_jax/models/photo64/files.json",
    "glow_jax/py.typed",
    "transfer/demo/README.md",
    "transfer/py.typed",
    "eval/rendered.npz",
    "eval/py.typed",
)


def requirements(section: str, name: str) -> dict[str, str]:
    """Requirement -> its lower bound, or nothing."""
    found = {}
    for line in SETUP[section][name].splitlines():
        if line and not line.startswith("#"):
            project, _, bound = (part.strip() for part in line.partition(">="))
            found[re.sub(r"\[.*\]", "", project)] = bound
    return found


def is_at_least(version: str, bound: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(".")]

    return numbers(version)[: len(numbers(bound))] == numbers(bound)


def test_lower_bounds_are_those_that_are_tested() -> None:
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    core = requirements("options", "install_requires")
    bounds = dict(core)
    for extra in ("dev", "eval", "photos", "video", "export", "completion"):
        bounds |= {k: v for k, v in requirements("options.extras_require", extra).items() if v}
    assert all(core.values())
    assert set(bounds) | {"jaxlib", "pyparsing"} == set(pinned)  # those two others require
    for project, bound in bounds.items():
        assert is_at_least(pinned[project], bound), f"{project}: {pinned[project]} is not {bound}"


def test_one_version() -> None:
    assert SETUP["metadata"]["version"] == "attr: glow_jax.__version__"
    assert f"\nversion: {glow_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(?:Unreleased\]: )?(\d+\.\d+\.\d+)", changes, re.MULTILINE)
    assert newest is not None and newest[1] == glow_jax.__version__


def texts() -> list[Path]:
    folders = (".github", "bench", "docs", "eval", "examples", "glow_jax", "transfer")
    below = (p for folder in folders for p in (ROOT / folder).rglob("*"))
    kinds = {".cfg", ".css", ".html", ".j2", ".js", ".md", ".py", ".toml", ".yml"}
    return [p for p in (*ROOT.glob("*"), *below) if p.is_file() and p.suffix in kinds]


def test_no_line_installs_a_strangers_package() -> None:
    """Nothing of ours is on a package index, where anybody may take the name."""
    found = re.compile(r"install [^\n]*?(?<![\w/.-])glow[-_]jax(?!/|\.git|\w| authors)")
    lines = {p: found.findall(p.read_text(encoding="utf-8")) for p in texts()}
    named = {str(p.relative_to(ROOT)): said for p, said in lines.items() if said}
    # The hint itself names the clone, not the package.
    allowed = {"glow_jax/io/messages.py"}
    assert set(named) <= allowed, named


def test_hints_name_extras_that_exist() -> None:
    calls = re.compile(r"install_hint\(\s*[\"']([\w-]+)[\"']\s*\)")
    named = {name for p in texts() if p.suffix == ".py" for name in calls.findall(p.read_text())}
    assert {"convert", "data", "eval", "py-feat", "ray", "render", "train"} <= named
    assert named <= set(SETUP["options.extras_require"])
    assert install_hint("eval").endswith("pip install -e '.[eval]' in a clone of glow-jax")


def test_jobs_call_make_targets_that_exist() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = {words.split()[1] for words in steps if words.startswith("make ")}
    assert len(steps) == len(jobs) and targets == {"test", "test-oldest", "wheel", "docs"}
    assert all(re.search(rf"^{target}:", MAKE, re.MULTILINE) for target in targets)
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    classifiers = SETUP["metadata"]["classifiers"]
    assert all(f"Python :: {version}\n" in classifiers + "\n" for version in pythons)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = MAKE.partition("\nlint:")[2].partition("\n\n")[0].replace("$(BIN)", ".venv/bin")
    for hook in hooks:
        assert hook["entry"].removesuffix(" --fix") in lint.replace(" --check", "")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "tree", ignore=shutil.ignore_patterns(*NOT_COPIED))
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "tree", cwd=folder)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def run(*words: object, cwd: Path, **environment: str) -> str:
    """Run a command away from the repository; its output."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


@pytest.mark.slow
def test_a_wheel_runs_the_demo_where_nothing_else_is(
    built: dict[str, Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = set(wheel.namelist())
    assert set(OF_THE_WHEEL) <= names
    assert {name.split("/")[0] for name in names} == {
        "glow_jax",
        "transfer",
        "eval",
        f"glow_jax-{glow_jax.__version__}.dist-info",
    }
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    options = ("--quiet", "--disable-pip-version-check")
    run(python, "-m", "pip", "install", *options, f"{built['wheel']}[eval]", cwd=tmp_path)
    environment = {"GLOW_JAX_CACHE": str(tmp_path / "cache")}
    command = tmp_path / "venv" / "bin" / "glow-jax"
    assert glow_jax.__version__ in run(command, "--version", cwd=tmp_path)
    said = run(command, "demo", "-o", "out", cwd=tmp_path, **environment)
    assert (tmp_path / "out" / "sheet.png").is_file(), said
    assert (tmp_path / "out" / "report" / "index.html").is_file(), said
    assert "every byte comes back" in said


@pytest.mark.slow
def test_an_sdist_runs_its_tests(built: dict[str, Path], tmp_path: Path) -> None:
    with tarfile.open(built["sdist"]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    tree = tmp_path / f"glow_jax-{glow_jax.__version__}"
    missing = [name for name in OF_THE_SDIST if not (tree / name).is_file()]
    assert not missing
    ours = {p.relative_to(ROOT) for p in (ROOT / "tests").rglob("*") if p.is_file()}
    ours = {p for p in ours if "__pycache__" not in p.parts}
    assert not [str(p) for p in ours if not (tree / p).is_file()]
    pytest_here = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    run(*pytest_here, "--collect-only", "-m", "not slow", cwd=tree)
    few = ("tests/test_imports.py", "tests/glow_jax/io/test_locks.py", "tests/test_packaging.py")
    said = run(*pytest_here, "-m", "not slow", *few, cwd=tree)
    assert "passed" in said
