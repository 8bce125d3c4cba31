"""One image of `encode` or `decode` raises what nobody expects; the others are done."""

from pathlib import Path

import numpy as np
import pytest

import glow_jax as gj
from glow_jax.checkpoints import save_weights, weights_of
from glow_jax.cli.main import main
from glow_jax.io import pictures
from glow_jax.io.errors import OutputError
from glow_jax.io.provenance import Provenance
from tests.support.models import glow

CONFIG = gj.GlowConfig(8, 8, n_levels=2, n_steps=1, hidden_width=8, n_bits=5)
EXCEPTIONS = [ValueError("odd"), OSError(5, "Input/output error"), MemoryError(), KeyError("x")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with three pictures."""
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        pixels = np.full(CONFIG.image_shape, 80 * i, np.uint8)
        made = Provenance("algorithmicMedia", "test", {})
        pictures.write_image(tmp_path / "pictures" / f"{i}.png", pixels, made)
    return tmp_path


def test_one_image_that_raises(
    home: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(CONFIG, weights_of(glow(CONFIG)), home / "model", {})
    end = ["--model", f"{home}/model", "--overwrite", "-o"]
    read, write = pictures.read_image, pictures.write_image
    for error in EXCEPTIONS:

        def raising(path: Path, *more: object, error: Exception = error) -> object:
            if "1" in path.name:
                raise error
            return (read if path.parent.name == "pictures" else write)(path, *more)  # type: ignore[arg-type]

        with monkeypatch.context() as patched:
            patched.setattr(pictures, "read_image", raising)
            assert main(["encode", f"{home}/pictures", *end, f"{home}/two.npz"]) == 1
        with np.load(home / "two.npz") as file:
            assert file["names"].tolist() == ["0.png", "2.png"]
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and said.startswith(f"skipped: {home}/pictures/1.png: ")
        with monkeypatch.context() as patched:
            patched.setattr(pictures, "write_image", raising)
            out = home / type(error).__name__
            assert main(["decode", f"{home}/two.npz", *end, str(out)]) == 1
        assert sorted(p.name for p in out.iterdir()) == ["00000_0.png"]
        assert capsys.readouterr().err.startswith("skipped: 2.png: ")

    def full(*_: object) -> None:
        raise OutputError("out: the disk is full")

    monkeypatch.setattr(pictures, "write_image", full)
    assert main(["decode", f"{home}/two.npz", *end, f"{home}/full"]) == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["aus"], "glow-jax aus: error: out of memory (Unable to allocate 9 GiB)"),
        (
            ["interpolate", "a.png", "b.png", "-o", "out"],
            "glow-jax interpolate: error: out of memory (Unable to allocate 9 GiB); a smaller "
            "--batch-size needs less",
        ),
    ],
)
def test_too_little_memory_is_one_line(
    words: list[str],
    line: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    for module in ("transfer.cli.aus", "transfer.cli.interpolate"):
        monkeypatch.setattr(f"{module}.run", fails)
    assert main(words) == 1
    assert capsys.readouterr().err == line + "\n"
