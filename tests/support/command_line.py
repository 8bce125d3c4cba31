"""Commands that must fail, and a folder of tiny inputs that others run on."""

from pathlib import Path

import numpy as np
import pytest

import glow_jax as gj
from glow_jax.cli.main import main
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from tests.support.models import glow

CONFIG = gj.GlowConfig(8, 8, n_levels=2, n_steps=1, hidden_width=8, n_bits=5)
MADE_UP = Provenance("trainedAlgorithmicMedia", "test", {})


def make_home(root: Path) -> Path:
    """Fill a folder with a model, two people, expressions and latents."""
    gj.save(glow(CONFIG), root / "model", {"origin": "a test", "licence": "none"})
    rng = np.random.default_rng(0)
    for person in ("ann", "bob", "shots"):
        (root / person).mkdir()
        for i in range(2):
            image = rng.integers(0, 256, CONFIG.image_shape, np.uint8)
            write_image(root / person / f"{i}.png", image, MADE_UP)
    words = ["encode", f"{root}/ann", "--model", f"{root}/model", "-o", f"{root}/ann.npz"]
    assert main(words) == 0
    return root


def fails(capsys: pytest.CaptureFixture[str], words: list[str], code: int = 2) -> str:
    """Run a command that must end in one clear line and an exit code; returns the line."""
    try:
        status = main(words)
    except SystemExit as exit_:  # argparse
        status = exit_.code
    printed = capsys.readouterr().err
    assert status == code, (words, printed)
    lines = printed.strip().splitlines()
    assert "Traceback" not in printed
    assert "error: " in lines[-1], printed
    assert not any("error: " in line for line in lines[:-1]), printed
    return lines[-1]
