"""The notebook: it holds no output, which could be stale, and every cell of it runs."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
MAX_BYTES = 30_000


def cells(kind: str) -> list[dict[str, Any]]:
    found = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def test_the_notebook_is_short_and_holds_no_output() -> None:
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    for cell in cells("code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        assert len(cell["source"]) < 40
        ast.parse("".join(cell["source"]))


def test_the_notebook_names_files_and_models_that_exist() -> None:
    text = "".join("".join(cell["source"]) for cell in cells("markdown"))
    pages = [word for word in text.replace("`", " ").split() if word.startswith("docs/")]
    assert len(pages) > 3 and all((ROOT / page.rstrip(".,)")).is_file() for page in pages)
    code = "".join("".join(cell["source"]) for cell in cells("code"))
    assert (ROOT / "glow_jax/models/faces64").is_dir() and code.count('"faces64"') == 3


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("GLOW_JAX_CACHE", str(tmp_path / "cache"))
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    how = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        book, kernel_name="python3", timeout=1800, startup_timeout=600, resources=how
    ).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    said = "".join(output.get("text", "") for output in outputs)
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert said.count("every byte came back: True") == 2
    assert "16 pictures made, by method warp" in said
    assert "nearer to the target than to the source: 100%" in said
    assert len(pictures) == 7  # people, sheet, edits, interpolation, three temperatures
    assert not any(output.get("name") == "stderr" for output in outputs), said
    widgets = [
        o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})
    ]
    assert len(widgets) == 1
