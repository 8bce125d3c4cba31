"""README and docs: snippets run as written, links resolve, every table says its point."""

import configparser
import dataclasses
import importlib.util
import json
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from glow_jax.cli.main import VERBS, main
from glow_jax.config import GlowConfig
from tests.support import photographs

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
FROM_ROOT = {"docs/contributing.md": "CONTRIBUTING.md", "docs/changelog.md": "CHANGELOG.md"}
MAX_README_LINES = 130
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of the languages."""
    return [text for language, text in FENCE.findall(path.read_text()) if language in languages]


def commands(path: Path, *languages: str) -> list[list[str]]:
    """The words after `glow-jax` of every such line."""
    lines = "".join(blocks(path, *languages)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("glow-jax ")]


def prose(path: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", path.read_text())


# -- words


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_no_gaps(path: Path) -> None:
    assert not re.search(r"@[A-Z_]+@|†|TODO|filled when", path.read_text())


LOOKED_UP = (
    *(
        "you want to",
        "to",
        "guide",
        "page",
        "path",
        "file",
        "column",
        "member",
        "extra",
        "platform",
    ),
    *("reason", "command", "step", "`--setting`", "`--data`"),
)
"""First headings of tables in which a reader looks a row up: nothing follows from all rows."""


@pytest.mark.parametrize("path", [README, *PAGES], ids=name)
def test_a_table_says_what_to_read_from_it(path: Path) -> None:
    text = prose(path)
    for table in re.finditer(r"(?m)^\| *(.*?) *\|.*\n\| ---.*\n(?:\|.*\n?)*", text):
        section = re.split(r"^#", text[table.end() :], flags=re.MULTILINE)[0]
        if table[1] not in LOOKED_UP:
            assert "ead from" in section, f"no sentence after the table: {table[0][:200]}"


def slug(heading: str) -> str:
    """A heading's anchor, as Python-Markdown and GitHub make it."""
    words = re.sub(r"[^\w\s-]", "", heading.strip().lower())
    return re.sub(r"[\s]+", "-", words)


def anchors(path: Path) -> set[str]:
    found = {slug(h) for h in re.findall(r"^#+ (.*)$", prose(path), flags=re.MULTILINE)}
    return found | (
        {f"glow-jax-{verb}" for verb in VERBS} if path.stem == "command-line" else set()
    )


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_links_resolve(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    for link in links:
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        relative = name(target) if target.is_relative_to(ROOT) else ""
        target = ROOT / FROM_ROOT.get(relative, relative)
        assert relative and target.exists(), f"{name(path)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(path)}: {link}"


# -- figures


METHODS = {
    "no transfer": ("none", None),
    "the truth itself": ("oracle", None),
    "the truth with other noise": ("oracle, other noise", None),
    "the truth, rendered again with other noise": ("oracle, other noise", None),
    "nearest training picture": ("nearest", None),
    "addition in pixel space": ("pixel", 1.0),
    "`paper`: addition in latent space (Valenzuela et al. 2021)": ("paper", 1.0),
    "`paper`, alpha 0.5": ("paper", 0.5),
    "`paper`": ("paper", 1.0),
    "… on raw z instead of eps": ("raw z", 1.0),
    "… neutral means": ("neutral means", 1.0),
    "… on a picture": ("on a picture", 1.0),
    "… variance restored": ("variance restored", 1.0),
    "… averaged direction": ("averaged direction", 1.0),
    "… PCA subspace": ("pca subspace", 1.0),
    "… regression subspace": ("regression subspace", 1.0),
    "… identity-orthogonal": ("identity-orthogonal", 1.0),
    "… face mask": ("face mask", 1.0),
    "… alpha per level": ("per-level alpha", 1.0),
    "activations added in latents": ("network code", 1.0),
    "activations added in pixels": ("pixel code", 1.0),
    "warp by activations, nothing added": ("warp only", 1.0),
    "… residual added in place": ("warp, rest unaligned", 1.0),
    "… residual added in aligned latents": ("warp, rest in latents", 1.0),
    "`warp`, the default": ("warp", 1.0),
    "`warp`, alpha 0.5": ("warp", 0.5),
    "`warp` (residual added over a mean shape)": ("warp", 1.0),
    "`warp`, alpha 1.25": ("warp", 1.25),
    "`warp`, alpha 1.5": ("warp", 1.5),
    "`warp`, alpha auto": ("warp, alpha auto", None),
    "`warp` of the true activations": ("warp, true code", 1.0),
}


@pytest.mark.parametrize("path", [README, ROOT / "docs/results/truth.md"], ids=name)
def test_figures_are_those_measured(path: Path) -> None:
    measured = json.loads((ROOT / "bench/results/truth.json").read_text())["rows"]
    rows = {
        (r["method"], r["alpha"]): r for r in measured if r["setting"] == "free" and r["k"] == 4
    }
    table = next(t for t in path.read_text().split("\n\n") if t.startswith("| method | gain"))
    header, _, *lines = [
        [c.strip() for c in row.strip("|").split("|")] for row in table.split("\n")
    ]
    assert lines
    for label, *cells in lines:
        row = rows[METHODS[label.replace("**", "")]]
        found = {
            "gain": row["vs_truth"]["gain"],
            "r": row["vs_truth"]["r"],
            "AU error": row["error_ratio"],
            "nearer": 100 * row["nearer_target"],
            "to target": row["to_target"],
            "MAE": row["mae"],
            "SSIM": row["ssim"],
            "ghosts": 100 * row["ghosts"],
            "bits/dim": row["bits_per_dim"],
        }
        for column, cell in zip(header[1:], cells, strict=True):
            number = cell.replace("**", "").removesuffix(" %")
            if number == "–":
                continue
            value = next(v for key, v in found.items() if column.startswith(key))
            digits = len(number.partition(".")[2])
            assert float(number) == pytest.approx(value, abs=0.501 * 10**-digits), (label, column)


# -- the command line


@pytest.fixture(scope="module")
def pages() -> object:
    """The hooks that write the command-line reference."""
    file = ROOT / "docs/hooks/pages.py"
    spec = importlib.util.spec_from_file_location("pages", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_has_every_verb_and_option(pages) -> None:
    page = ROOT / "docs/reference/command-line.md"
    text = pages.on_page_markdown(page.read_text())
    assert pages.MARKER not in text
    listed = page.read_text()
    for verb in VERBS:
        assert f"](#glow-jax-{verb})" in listed
        section = text.split(f"\n## glow-jax {verb}\n")[1].split("\n## ")[0]
        for action in pages.parser_of(verb)._actions:
            if action.dest != "help":
                assert all(f"`{option}`" in section for option in action.option_strings)
    assert str(Path.home()) not in text


def test_reference_has_every_field_of_a_config_in_plain_words(pages) -> None:
    text = pages.on_page_markdown((ROOT / "docs/reference/config.md").read_text())
    assert pages.FIELDS not in text
    for field in dataclasses.fields(GlowConfig):
        lines = [line for line in text.splitlines() if line.startswith("| ")]
        rows = [line for line in lines if f"`{field.name}`" in line.split(" | ")[0]]
        assert len(rows) == 1, field.name
        assert re.search("number|true or false|^`", rows[0].split(" | ")[1])
    assert "| `coupling` | `additive`, `affine` | `additive` |" in text


@pytest.mark.parametrize("path", [README, *PAGES], ids=name)
def test_commands_parse(path: Path, pages) -> None:
    for verb, *words in commands(path, "sh", "bash"):
        pages.parser_of(verb).parse_args(words)


def test_install_page_has_every_extra() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    page = (ROOT / "docs/install.md").read_text()
    for extra in config["options.extras_require"]:
        assert f"\n| `{extra}` |" in page


# -- snippets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where snippets run: with the bundled people, jobs, photographs and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOW_JAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "transfer").symlink_to(ROOT / "transfer")
    for language in ("csv", "toml"):
        text = blocks(ROOT / "docs/guides/batches.md", language)[0]
        (tmp_path / f"job.{language}").write_text(text)
    for person, heads in {"ann": {"smile": "29_2", "a": "29_1"}, "bob": {"a": "36_1"}}.items():
        (tmp_path / "photos" / person).mkdir(parents=True)
        for file, head in heads.items():
            taken = photographs.photograph(head, width=900, height=700)
            Image.fromarray(taken.pixels).save(tmp_path / "photos" / person / f"{file}.jpg")
    shutil.copy(tmp_path / "photos" / "ann" / "smile.jpg", tmp_path / "a.jpg")
    shutil.copy(tmp_path / "photos" / "bob" / "a.jpg", tmp_path / "b.jpg")
    packed = ROOT / "tests/golden/foreign/rosinality.legacy-cuda.pt.xz"
    (tmp_path / "glow_checkpoint.pt").write_bytes(lzma.decompress(packed.read_bytes()))
    return tmp_path


def snippets() -> Iterator[object]:
    """The pages with blocks that run."""
    for path in (README, *PAGES):
        if blocks(path, "python", "sh"):
            yield pytest.param(path, id=name(path))


@pytest.mark.slow
@pytest.mark.parametrize("path", list(snippets()))
def test_snippets_run(path: Path, folder: Path) -> None:
    for language, text in FENCE.findall(path.read_text()):
        if language == "python":
            exec(compile(text, str(path), "exec"), {"__name__": "snippet"})
        if language == "sh":
            lines = text.replace("\\\n", " ").splitlines()
            for words in (shlex.split(line, comments=True) for line in lines):
                assert words[0] == "glow-jax", f"{words[0]} does not run here: use a bash block"
                assert main(words[1:]) == 0, " ".join(words)


EXAMPLES = {
    "move_expressions.py": ("out",),
    "batch.py": ("out",),
    "custom_method.py": ("out",),
    "convert.py": ("glow_checkpoint.pt", "out", "32", "5"),
    "train.py": ("transfer/demo/people/person-16", "transfer/demo/people/person-36", "out"),
}


def test_every_example_is_run() -> None:
    assert {path.name for path in (ROOT / "examples").iterdir() if path.suffix == ".py"} == set(
        EXAMPLES
    )


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES)
def test_example_runs(file: str, folder: Path) -> None:
    words = [sys.executable, str(ROOT / "examples" / file), *EXAMPLES[file]]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "out").is_dir()
