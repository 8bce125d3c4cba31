"""The command line: every verb on a tiny model, then words and files that are wrong."""

import json
import os
import random
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

import glow_jax as gj
from glow_jax import checkpoints
from glow_jax.cli.main import main
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import read_provenance
from tests.support.command_line import CONFIG, MADE_UP, fails
from tests.support.models import glow


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load each whole model once: the fuzz below is about files, not about compiling."""
    load, models = checkpoints.load, {}

    def loaded(name: str, **options) -> gj.Glow:
        key = (str(name), *sorted(options.items()))
        if key not in models:
            models[key] = load(name, **options)
        return models[key]

    monkeypatch.setattr(checkpoints, "load", loaded)


# -- what works


def test_encode_and_decode_give_every_byte_back(home: Path, tmp_path: Path, capsys) -> None:
    model = f"{home}/model"
    there = [f"{home}/ann", f"{home}/ann/0.png"]  # one of them twice, which counts once
    words = ["encode", *there, "--check", "--model", model, "-o", f"{tmp_path}/z.npz"]
    assert main(words) == 0
    assert "every byte comes back" in capsys.readouterr().out
    assert main(["decode", f"{tmp_path}/z.npz", "--model", model, "-o", f"{tmp_path}/out"]) == 0
    for i in range(2):
        decoded = tmp_path / "out" / f"0000{i}_{i}.png"
        np.testing.assert_array_equal(read_image(decoded), read_image(home / "ann" / f"{i}.png"))
        record = read_provenance(decoded)
        assert record is not None
        assert record.source_type == "compositeWithTrainedAlgorithmicMedia"


def test_latents_of_another_model_need_force(home: Path, tmp_path: Path, capsys) -> None:
    gj.save(glow(CONFIG, seed=1), tmp_path / "other", {})
    words = ["decode", f"{home}/ann.npz", "--model", f"{tmp_path}/other", "-o", f"{tmp_path}/out"]
    assert "not by 'other'" in fails(capsys, words)
    assert not (tmp_path / "out").exists()
    assert main([*words, "--force"]) == 0


def test_a_name_with_a_line_end_is_said_on_one_line(home: Path, tmp_path: Path, capsys) -> None:
    out, model = tmp_path / "two\nlines", f"{home}/model"
    out.mkdir()
    assert main(["encode", f"{home}/ann", "--model", model, "-o", f"{out}/z.npz"]) == 0
    assert main(["decode", f"{home}/ann.npz", "--model", model, "-o", f"{out}/d"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all("two\\nlines" in line for line in lines)


def test_an_umask_that_takes_the_users_permissions_is_not_used(
    home: Path, tmp_path: Path, capsys
) -> None:
    before = os.umask(0o777)
    try:
        words = ["decode", f"{home}/ann.npz", "--model", f"{home}/model"]
        assert main([*words, "-o", f"{tmp_path}/out"]) == 0
    finally:
        assert os.umask(before) == 0o077
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")]
    assert modes == [0o600] * 2


def test_transfer_writes_a_job(home: Path, tmp_path: Path, capsys) -> None:
    words = ["transfer", "--expression", f"{home}/shots", "--source", f"{home}/ann"]
    words += ["--target", f"{home}/bob", "--alpha", "0", "0.5:1:0.25", "--model", f"{home}/model"]
    words += ["-o", f"{tmp_path}/out"]
    assert main(words) == 0
    assert "8 images made; already there: 0" in capsys.readouterr().out
    assert (tmp_path / "out" / "sheet.png").is_file()
    assert len(list((tmp_path / "out" / "images").iterdir())) == 8
    assert main(words) == 0
    assert "0 images made; already there: 8" in capsys.readouterr().out
    (home / "bob" / "broken.png").write_bytes(b"x")
    try:
        words[-1] = f"{tmp_path}/again"
        assert main(words) == 1
        printed = capsys.readouterr()
        assert "broken.png" in printed.err
        assert "1 input could not be used" in printed.out
    finally:
        (home / "bob" / "broken.png").unlink()


def test_broken_expressions_beside_a_model_end_in_one_line(
    home: Path, tmp_path: Path, capsys
) -> None:
    shutil.copytree(home / "model", tmp_path / "model")
    (tmp_path / "model" / "expressions.npz").write_bytes(b"PK")
    words = ["transfer", "--expression", f"{home}/shots", "--source", f"{home}/ann"]
    words += ["--target", f"{home}/bob", "--model", f"{tmp_path}/model", "-o", f"{tmp_path}/out"]
    assert "expressions.npz: not a readable .npz" in fails(capsys, words)
    assert not (tmp_path / "out").exists()


def test_fast_precision_is_checked_against_exact(home: Path, tmp_path: Path, capsys) -> None:
    words = ["transfer", "--expression", f"{home}/shots/0.png", "--source", f"{home}/ann"]
    words += ["--target", f"{home}/bob", "--precision", "fast", "--model", f"{home}/model"]
    assert main([*words, "-o", f"{tmp_path}/out"]) == 0
    assert "every byte comes back" in capsys.readouterr().out


def test_sample_and_info(home: Path, tmp_path: Path, capsys) -> None:
    words = ["sample", "-n", "5", "--model", f"{home}/model", "-o", f"{tmp_path}/s.png"]
    assert main(words) == 0
    sheet = read_image(tmp_path / "s.png")
    assert sheet.shape == (16, 24, 3)
    record = read_provenance(tmp_path / "s.png")
    assert record is not None
    assert record.source_type == "trainedAlgorithmicMedia"
    capsys.readouterr()
    assert main(["info", f"{home}/model"]) == 0
    printed = capsys.readouterr().out
    for text in ("L 2, K 1, width 8", "8x8", "5 bits", "a test"):
        assert text in printed


def test_info_calibrates_a_model(home: Path, tmp_path: Path, capsys) -> None:
    model = shutil.copytree(home / "model", tmp_path / "model")
    pictures = tmp_path / "held-out"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for i in range(100):
        image = rng.integers(0, 256, CONFIG.image_shape, np.uint8)
        write_image(pictures / f"{i}.png", image, MADE_UP)
    assert main(["info", str(model), "--calibrate", str(pictures)]) == 0
    printed = capsys.readouterr().out
    limit = checkpoints.far_limit(model)
    assert limit is not None and f"known_bits_per_dim.quantiles.0.999 {limit}" in printed
    images = np.stack([read_image(p) for p in sorted(pictures.iterdir())])
    bits = np.asarray(gj.load(model).bits_per_dim(images))
    assert np.quantile(bits, 0.999) == pytest.approx(limit, abs=1e-4)
    line = fails(capsys, ["info", str(model), "--calibrate", f"{home}/ann"])
    assert "2 pictures: 100 or more are needed" in line


def test_train_asks_for_steps_and_for_held_out_images(home: Path, tmp_path: Path, capsys) -> None:
    words = ["train", "--data", f"folder:{home}/ann", "-o", f"{tmp_path}/run"]
    assert "is required without --debug" in fails(capsys, words)
    assert "name other images as --held-out" in fails(
        capsys, [*words, "--steps", "1", "--preset", "debug"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset", ["cifar10", "celeba64", "celebahq256", "faces64", "photo64", "photo128", "photo256"]
)
def test_every_preset_has_a_debug_run(home: Path, tmp_path: Path, capsys, preset: str) -> None:
    words = ["train", "--data", f"folder:{home}/ann", "--held-out", f"folder:{home}/bob"]
    words += ["--preset", preset, "--debug", "--steps", "3", "--batch-size", "4"]
    assert main([*words, "-o", f"{tmp_path}/run"]) == 0
    said = capsys.readouterr().err
    assert f"preset {preset} (for " in said and "expected: " in said and "debug size" in said
    assert (tmp_path / "run" / "images" / "samples_00000003.png").exists()


def test_train_makes_a_model_that_loads(home: Path, tmp_path: Path, capsys) -> None:
    words = ["train", "--data", f"folder:{home}/ann", "--held-out", f"folder:{home}/bob"]
    words += ["--preset", "debug", "--width", "8", "--steps", "4", "--batch-size", "2"]
    words += ["--every", "2", "-o", f"{tmp_path}/run"]
    assert main(words) == 0
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 3
    assert main(["info", f"{tmp_path}/run/model"]) == 0
    assert "finished" in fails(capsys, words)


# -- what does not

COMMANDS: list[tuple[list[str], str]] = [
    ([], "a verb is required"),
    (["fly"], "unknown verb fly"),
    (["transfer"], "required"),
    (["encode"], "required"),
    (["encode", "{home}/none.png", "-o", "{tmp}/z.npz"], "none.png"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.png"], "use .npz"),
    (["encode", "{home}/ann", "-o", "{tmp}/no/such/z.npz"], "cannot be written"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.npz", "--model", "{home}/nothing"], "no such model"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.npz", "--model", ""], "no such model"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.npz", "--model", "faces1"], "no such model"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.npz", "--model", "{home}/ann"], "not a checkpoint"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.npz", "--precision", "half"], "invalid choice"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.npz", "--batch-size", "0"], "whole number"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.npz", "--batch-size", "x"], "whole number"),
    (["encode", "{home}/ann", "-o", "{tmp}/z.npz", "--batch-size", "1e9"], "whole number"),
    (["decode", "{home}/none.npz", "-o", "{tmp}/out"], "no such file"),
    (["decode", "{home}/ann", "-o", "{tmp}/out"], "no such file"),
    (["decode", "{home}/ann/0.png", "-o", "{tmp}/out"], "not a readable"),
    (["decode", "{home}/ann.npz", "-o", "{home}/ann/0.png"], "0.png"),
    (["decode", "{home}/ann.npz", "-o", "{home}/ann/0.png/out"], "0.png"),
    (["sample", "-o", "{tmp}/s.gif"], "png"),
    (["sample", "-o", "{tmp}/s.png", "-n", "0"], "whole number"),
    (["sample", "-o", "{tmp}/s.png", "-n", "1000000"], "whole number"),
    (["sample", "-o", "{tmp}/s.png", "--temperature", "-1"], "number from 0"),
    (["sample", "-o", "{tmp}/s.png", "--temperature", "nan"], "number from 0"),
    (["sample", "-o", "{tmp}/s.png", "--temperature", "hot"], "number from 0"),
    (["sample", "-o", "{tmp}/s.png", "--seed", "-3"], "whole number"),
    (["sample", "-o", "{tmp}/no/s.png"], "cannot be written"),
    (["info", "nowhere"], "no such model"),
    (["info", "{home}/ann/0.png"], "no such model"),
    (["info", "{home}/ann"], "not a checkpoint"),
    (["info"], "required"),
    (["train"], "required"),
    (["fit-expressions"], "required"),
    (["fit-expressions", "{home}/ann", "--model", "{home}/nothing"], "no such model"),
    (["fit-expressions", "{home}/ann", "--model", "{home}/model"], "labels.jsonl: cannot be read"),
    (["fit-expressions", "{home}/ann", "--steps", "0"], "whole number"),
]
TRANSFER = ["transfer", "--expression", "{home}/shots", "--source", "{home}/ann"]
TRANSFER += ["--target", "{home}/bob", "-o", "{tmp}/out"]
CHANGES: list[tuple[dict[str, list[str]], str]] = [
    ({"--expression": ["{home}/none.png"]}, "none.png"),
    ({"--expression": ["{home}/model"]}, "no images"),
    ({"--expression": ["{home}/ann.npz"]}, "no expression can be used"),
    ({"--expression": []}, "expected at least one"),
    ({"--source": ["{home}/none"]}, "none"),
    ({"--source": ["{home}/model"]}, "no images"),
    ({"--target": ["{home}/none"]}, "none"),
    ({"--target": ["{home}/bob", "--target", "{home}/bob"]}, "two targets"),
    ({"-o": ["{home}/ann"]}, "no glow-jax job"),
    ({"-o": ["{home}/ann/0.png"]}, "no glow-jax job"),
    ({"-o": ["{home}/ann/0.png/x"]}, "cannot be made"),
    ({"--model": ["{home}/nothing"]}, "no such model"),
    *(
        ({"--alpha": [word]}, "alpha")
        for word in ("x", "nan", "inf", "0.3,0.4", "1:2", "1:0:.1", "0:1:0", "0:1:1e-9", "α", "1:")
    ),
    ({"--alpha": []}, "expected at least one"),
    ({"--method": ["warp"]}, "has no expressions.npz"),
    ({"--method": ["best"]}, "invalid choice"),
    ({"--alpha": ["0_5"]}, "use a number"),
    ({"--face": ["2"]}, "--face needs --align"),
    ({"--max-yaw": ["3"]}, "--max-yaw needs --align"),
    ({"--batch-size": ["-1"]}, "whole number"),
    ({"--nonsense": ["1"]}, "unknown option --nonsense"),
]
TRAIN = ["train", "--data", "folder:{home}/ann", "--held-out", "folder:{home}/bob"]
TRAIN += ["--preset", "debug", "--steps", "1", "-o", "{tmp}/run"]
TRAIN_CHANGES: list[tuple[dict[str, list[str]], str]] = [
    ({"--data": ["{home}/ann"]}, "folder:DIR"),
    ({"--data": ["tfds:"]}, "folder:DIR"),
    ({"--data": ["folder:{home}/none"]}, "none"),
    ({"--data": ["folder:{home}/model"]}, "no images"),
    ({"--held-out": ["folder:"]}, "folder:DIR"),
    ({"--data": ["tfds:no_such_set"]}, "no such data set"),
    ({"--process": ["0/2"]}, "must be given together"),
    ({"--coordinator": ["localhost:1"]}, "must be given together"),
    *(({"--process": [word]}, "use I/N") for word in ("2/2", "1", "x/2", "0/0")),
    ({"--optimiser": ["sgd"]}, "invalid choice"),
    ({"--ema": ["1"]}, "number from"),
    ({"--init": ["{home}/nothing"]}, "no such model"),
    ({"--init": ["{home}/model"]}, "image_height is 8, not 16"),
    ({"--preset": ["huge"]}, "no preset"),
    ({"--steps": ["0"]}, "whole number"),
    ({"--steps": ["many"]}, "whole number"),
    ({"--levels": ["5"]}, "not divisible"),
    ({"--width": ["5000"]}, "whole number"),
    ({"--bits": ["9"]}, "whole number"),
    ({"--coupling": ["spline"]}, "invalid choice"),
    ({"--learning-rate": ["-1"]}, "number from"),
    ({"-o": ["{home}/ann"]}, "not a training run"),
    ({"-o": ["{home}/ann/0.png/x"]}, "0.png"),
]


def changed(words: list[str], changes: dict[str, list[str]]) -> list[str]:
    """A command line with the values of some options replaced, or options added."""
    words = list(words)
    for option, values in changes.items():
        if option in words:
            at = words.index(option)
            words[at + 1 : at + 2] = values
        else:
            words += [option, *values]
    return words


WRONG = (
    COMMANDS
    + [(changed(TRANSFER, c), text) for c, text in CHANGES]
    + [(changed(TRAIN, c), text) for c, text in TRAIN_CHANGES]
)


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_words(home: Path, tmp_path: Path, capsys, remembered, number: int) -> None:
    words, text = WRONG[number]
    if words and words[0] in ("encode", "decode", "sample", "transfer") and "--model" not in words:
        words = [*words, "--model", "{home}/model"]
    words = [w.format(home=home, tmp=tmp_path) for w in words]
    assert text in fails(capsys, words)
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not left, left


def damaged(rng: random.Random, data: bytes) -> bytes:
    """One of the ways in which a file on a disk or a wire goes bad."""
    at = rng.randrange(len(data))
    match rng.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[at:]
        case 2:
            return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        case 3:
            return data[:at] + rng.randbytes(rng.randrange(1, 64)) + data[at:]
        case 4:
            return data[:at] + bytes(min(64, len(data) - at)) + data[at + 64 :]
        case _:
            return rng.randbytes(rng.randrange(200))


def survives(words: list[str], capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a command took a damaged file; otherwise it must fail as `fails` says."""
    if main(words) in (0, 1):
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return True
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert "error: " in lines[0]
    return False


def run_damaged(
    count: int, original: bytes, file: Path, words: list[str], capsys, leftovers: Callable
) -> int:
    """Feed `count` damaged copies to a command; returns how many were refused."""
    rng, refused = random.Random(17), 0
    for _ in range(count):
        file.write_bytes(damaged(rng, original))
        if survives(words, capsys):
            leftovers()
        else:
            refused += 1
            assert not leftovers()
    return refused


def test_damaged_latents(home: Path, tmp_path: Path, capsys, remembered) -> None:
    file, out = tmp_path / "z.npz", tmp_path / "out"
    words = ["decode", str(file), "--model", f"{home}/model", "-o", str(out)]

    def leftovers() -> bool:
        there = out.exists()
        shutil.rmtree(out, ignore_errors=True)
        return there

    original = (home / "ann.npz").read_bytes()
    assert run_damaged(80, original, file, words, capsys, leftovers) > 60


def test_hostile_latents(home: Path, tmp_path: Path, capsys, remembered) -> None:
    with np.load(home / "ann.npz") as archive:
        good = dict(archive)
    nan = np.full_like(good["eps_0"], np.nan)
    cases = {
        "pickle": good | {"eps_0": np.array([{"a": 1}], object)},
        "nan": good | {"eps_0": nan},
        "double": good | {"eps_0": good["eps_0"].astype(np.float64)},
        "shape": good | {"eps_1": good["eps_1"][:, :1]},
        "names": good | {"names": np.arange(2)},
        "fewer": good | {"names": good["names"][:1]},
        "more": good | {"extra": np.zeros(1)},
        "less": {k: v for k, v in good.items() if k != "eps_1"},
        "fingerprint": good | {"fingerprint": np.float32(1)},
    }
    for name, arrays in cases.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in good:
            size = 2**33 if name == "eps_0" else 128
            with bomb.open(f"{name}.npy", "w", force_zip64=True) as member:
                for _ in range(0, min(size, 2**26), 2**20):
                    member.write(bytes(2**20))
    for file in sorted(tmp_path.glob("*.npz")):
        words = ["decode", str(file), "--model", f"{home}/model", "-o", f"{tmp_path}/out"]
        fails(capsys, words)
    assert not (tmp_path / "out").exists()


def test_damaged_checkpoints(home: Path, tmp_path: Path, capsys) -> None:
    rng, refused, tried = random.Random(3), 0, 0
    files = sorted(p for p in (home / "model").rglob("*") if p.is_file())
    for number in range(60):
        copy = tmp_path / f"m{number}"
        shutil.copytree(home / "model", copy)
        file = copy / files[number % len(files)].relative_to(home / "model")
        data = file.read_bytes()
        if number % 7 == 0 or not data:
            file.unlink()
        else:
            file.write_bytes(damaged(rng, data))
        tried += 1
        refused += not survives(["info", str(copy)], capsys)
        shutil.rmtree(copy)
    assert refused > tried * 0.9  # the card may be damaged and still be JSON


@pytest.mark.parametrize(
    "change",
    [
        {"n_levels": 3},
        {"n_levels": -1},
        {"n_levels": "2"},
        {"n_levels": True},
        {"n_steps": 10**9},
        {"hidden_width": 16},
        {"hidden_width": 10**12},
        {"image_height": 7},
        {"image_height": None},
        {"n_channels": 0},
        {"coupling": "cubic"},
        {"coupling": ["affine"]},
        {"coupling": "affine"},
        {"permutation": "lu"},
        {"learned_top_prior": 1},
        {"n_bits": 9},
        {"n_classes": 3},
        {"surprise": 1},
    ],
)
def test_configs_that_do_not_fit(home: Path, tmp_path: Path, capsys, change: dict) -> None:
    shutil.copytree(home / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | change))
    fails(capsys, ["info", f"{tmp_path}/model"])


def test_damaged_pictures(home: Path, tmp_path: Path, capsys, remembered) -> None:
    original = (home / "ann" / "0.png").read_bytes()
    file, out = tmp_path / "a.png", tmp_path / "z.npz"
    words = ["encode", str(file), "--model", f"{home}/model", "-o", str(out)]

    def leftovers() -> bool:
        there = out.exists()
        out.unlink(missing_ok=True)
        return there

    run_damaged(100, original, file, words, capsys, leftovers)


def test_an_interrupt_is_one_line(home: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "load", interrupted)
    assert main(["encode", f"{home}/ann", "--model", f"{home}/model", "-o", "z.npz"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "name",
    [
        "faces64",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("photo64", "photo128", "photo256")),
    ],
)
def test_a_bundled_model_is_whole(name: str, capsys) -> None:
    model = gj.load(name)
    images = np.asarray(model.sample(jax.random.key(0), 2, 0.7))
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)
    assert main(["info", name]) == 0
