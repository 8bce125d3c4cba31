"""What `glow-jax align` writes, given as it is to train, batch, transfer, encode and eval."""

from pathlib import Path

import pytest
from PIL import Image

from glow_jax.cli.main import main
from tests.support import photographs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two people with two crops each, and a sheet."""
    root = tmp_path_factory.mktemp("album")
    for person in ("29", "36"):
        for n in (0, 2):
            path = root / f"photos/person-{person}/{n}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            taken = photographs.photograph(f"{person}_{n}", width=900, height=700, scale=1.3)
            Image.fromarray(taken.pixels).save(path, quality=95)
    assert main(["align", f"{root}/photos", "-o", f"{root}/crops", "--size", "64"]) == 0
    assert (root / "crops/sheet.png").is_file()
    return root / "crops"


def test_train(crops: Path, tmp_path: Path, capsys) -> None:
    words = ["train", "--debug", "--steps", "2", "--batch-size", "2", "--out", f"{tmp_path}/run"]
    held_out = ["--held-out", f"folder:{crops}/faces/person-36"]
    assert main([*words, "--data", f"folder:{crops}", *held_out]) == 0
    said = capsys.readouterr().err
    assert "4 training images (folder:crops), 2 held out (folder:person-36)" in said
    assert f"{crops}: left out 1 picture that glow-jax wrote beside others" in said


def test_batch_and_eval(crops: Path, tmp_path: Path, capsys) -> None:
    (smile,) = (crops / "faces/person-29").glob("2_*.png")
    job = tmp_path / "job.toml"
    job.write_text(
        f'targets = ["{crops}"]\nalphas = [1]\n[[sources]]\n'
        f'person = "{crops}/faces/person-29"\nexpressions = ["{smile}"]\n'
    )
    assert main(["batch", str(job), "-o", f"{tmp_path}/out"]) == 0
    assert len(list((tmp_path / "out/images").rglob("*.png"))) == 2
    capsys.readouterr()
    assert main(["eval", f"{tmp_path}/out", "--workers", "1"]) == 0
    assert "report:" in capsys.readouterr().out


def test_transfer_and_encode(crops: Path, tmp_path: Path, capsys) -> None:
    (smile,) = (crops / "faces/person-29").glob("2_*.png")
    asked = ["transfer", "--expression", str(smile), "--source", str(smile.parent)]
    target = f"{crops}/faces/person-36"
    assert main([*asked, "--target", target, "-o", f"{tmp_path}/out"]) == 0
    assert main(["encode", target, "-o", f"{tmp_path}/a.npz"]) == 0
    assert "2 images" in capsys.readouterr().out
    assert main([*asked, "--target", str(crops), "-o", f"{tmp_path}/two"]) == 2
    assert "pictures of 2 people; name one of them, such as" in capsys.readouterr().err


def test_eval_says_what_it_takes(crops: Path, capsys) -> None:
    for place in (crops, crops / "faces"):
        assert main(["eval", str(place)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "crops that `align` made, not outputs; name their people in a transfer" in line
