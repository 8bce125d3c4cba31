"""The verbs `batch` and `merge` on a tiny model: words, files, devices, Python's way."""

import csv
import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import transfer
from glow_jax.cli.main import main
from glow_jax.io.errors import InputError
from tests.support.batch_command import ROWS, words
from tests.support.command_line import fails
from tests.support.linear import contents
from tests.support.paths import ROOT
from transfer.models import auto_batch_size, load_models


def test_a_batch_and_its_shards(job: Path, tmp_path: Path, capsys) -> None:
    assert main(words(job, tmp_path / "whole")) == 0
    said = capsys.readouterr()
    assert "24 images made; already there: 0" in said.out
    assert "24 outputs: 24 paper" in said.err and "4 pictures, 2 people" not in said.err
    with (tmp_path / "whole" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["user_id"] for row in rows] == [f"r{i // 2}" for i in range(24)]
    for i in (1, 2):
        shard = ["--shard", f"{i}/2", "--chunk-size", "64"]
        assert main(words(job, tmp_path / f"{i}", *shard)) == 0
    assert "still to be made" not in capsys.readouterr().err
    merge = ["merge", f"{tmp_path}/1", f"{tmp_path}/2", "-o", f"{tmp_path}/merged"]
    assert main(merge) == 0
    assert "24 images, 0 failed, 0 missing" in capsys.readouterr().out
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
    assert main(words(job, tmp_path / "whole")) == 0
    assert "0 images made; already there: 24" in capsys.readouterr().out


def test_a_bad_picture_is_exit_code_1(job: Path, tmp_path: Path, capsys) -> None:
    broken = job.parent / "bob" / "broken.png"
    broken.write_bytes(b"x")
    try:
        assert main(words(job, tmp_path / "out", "--limit", "1")) == 1
    finally:
        broken.unlink()
    assert "1 input could not be used" in capsys.readouterr().out


def test_a_picture_mended_to_anothers_equal_ends_the_job(
    job: Path,
    tmp_path: Path,
    capsys,
) -> None:
    shots = job.parent / "own"
    shots.mkdir()
    good = next((job.parent / "shots").iterdir()).read_bytes()
    (shots / "1.png").write_bytes(good)
    (shots / "2.png").write_bytes(b"x")
    job.write_text("expression,source,target,alpha\nown/1.png,ann,bob,1\nown/2.png,ann,bob,1\n")
    try:
        assert main(words(job, tmp_path / "out")) == 1
        (shots / "2.png").write_bytes(good)
        capsys.readouterr()
        assert main(words(job, tmp_path / "out")) == 0
        assert "still to be made" not in capsys.readouterr().out
        assert len(list((tmp_path / "out" / "images").glob("*.png"))) == 1
    finally:
        for path in shots.iterdir():
            path.unlink()
        shots.rmdir()


def test_a_dry_run_makes_nothing(job: Path, tmp_path: Path, capsys) -> None:
    assert main(words(job, tmp_path / "out", "--dry-run", "--batch-size", "4")) == 0
    said = capsys.readouterr().out
    assert "measured on 8 outputs" in said and "estimate for" in said and "disk space: " in said
    assert not (tmp_path / "out").exists()


def test_a_full_disk_names_the_caches_option_where_there_is_one(
    job: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    why = f"{tmp_path}/out: the cache cannot be written (No space left on device)"
    line = fails(capsys, words(job, tmp_path / "out"))
    assert line.endswith(f"error: {why}; a smaller --cache-gb needs less")
    pictures = [f"{job.parent}/ann/{i}.png" for i in (0, 1)]
    more = ["--model", f"{job.parent}/model", "--no-compile-cache", "-o", f"{tmp_path}/way"]
    line = fails(capsys, ["interpolate", *pictures, *more])
    assert line.endswith(f"error: {why.replace('/out:', '/way:')}")


def test_pythons_way_is_the_same(job: Path, tmp_path: Path, capsys) -> None:
    assert main(words(job, tmp_path / "cli", "--batch-size", "4")) == 0
    request = transfer.BatchRequest(job, tmp_path / "python", job.parent / "model", batch_size=4)
    summary = transfer.batch(request)
    assert (summary.made, summary.totals.missing) == (24, 0)
    assert contents(tmp_path / "cli") == contents(tmp_path / "python")


def test_an_interrupted_batch_keeps_its_batch_size(job: Path, tmp_path: Path) -> None:
    assert main(words(job, tmp_path / "whole", "--batch-size", "3", "--chunk-size", "6")) == 0
    out = tmp_path / "out"
    limited = ["--batch-size", "3", "--chunk-size", "6", "--limit", "6"]
    assert main(words(job, out, *limited)) == 0
    assert main(words(job, out, "--chunk-size", "6")) == 0
    assert json.loads((out / "job.json").read_text())["batch_size"] == 3
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--shard", "3/2"], "use I/N"),
        (["--shard", "x"], "use I/N"),
        (["--batch-size", "0"], "whole number"),
        (["--batch-size", "some"], "whole number"),
        (["--limit", "0"], "whole number"),
        (["--format", "gif"], "invalid choice"),
        (["--cache-gb", "0"], "number from"),
        (["--model", "nowhere"], "no such model"),
        (["-o", "{job}"], "no glow-jax job"),
        (["-o", "{home}/ann"], "no glow-jax job"),
        (["--precision", "half"], "invalid choice"),
        (["--shard-size", "4"], "no meaning for --format png"),
        (["--detector", "dlib2"], "--detector needs --align"),
    ],
)
def test_wrong_words(job: Path, tmp_path: Path, capsys, more: list[str], told: str) -> None:
    more = [word.format(job=job, home=job.parent) for word in more]
    assert told in fails(capsys, words(job, tmp_path / "out", *more))
    assert not list(tmp_path.iterdir())


def test_all_lines_of_a_wrong_table_are_told_before_a_model_is_loaded(
    job: Path, tmp_path: Path, capsys
) -> None:
    job.write_text(ROWS[0] + "\nnone.png,ann,bob,1,a\nshots,ann,eve,x,a\n")
    assert main([*words(job, tmp_path / "out"), "--model", "nowhere"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5 and all("line" in line for line in said)
    assert "line 3: id 'a' is used in line 2" in said[3]
    assert "(the first of 4 errors)" in said[-1] and "error: " in said[-1]


def test_merge_needs_jobs(job: Path, tmp_path: Path, capsys) -> None:
    merge = ["merge", str(tmp_path), "-o", f"{tmp_path}/out"]
    assert "holds no glow-jax job" in fails(capsys, merge)


# -- devices

ON_DEVICES = """
import sys
import jax
import transfer

job, model, out, devices = sys.argv[1:]
assert jax.local_device_count() == int(devices)
request = transfer.BatchRequest(job, out, model, batch_size=2, chunk_size=12)
print(transfer.batch(request).made)
"""


@pytest.mark.slow
def test_eight_devices_make_the_same_bytes(job: Path, tmp_path: Path) -> None:
    table = (
        ROWS[0] + ",method\n" + "".join(f"{row},\n" for row in [*ROWS[1:], "shots,bob,ann,auto,"])
    )
    job.write_text(table)
    for devices in (1, 8):
        out = tmp_path / str(devices)
        flags = f"--xla_force_host_platform_device_count={devices}"
        done = subprocess.run(
            [sys.executable, "-c", ON_DEVICES, job, job.parent / "model", out, str(devices)],
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.split() == ["26"]
    assert contents(tmp_path / "1") == contents(tmp_path / "8")


def test_batches_are_as_large_as_memory_allows(job: Path) -> None:
    codec = load_models(str(job.parent / "model")).codec
    sizes = [auto_batch_size(codec, "gpu", n) for n in (80 * 10**9, 10**5 + 2 * 10**4, 10**4)]
    assert sizes == [128, 2, 1]
    assert auto_batch_size(codec, "cpu", 0) == 64
    large = dataclasses.replace(codec, size=(256, 256))
    assert auto_batch_size(large, "cpu", 10**12) == 1


def test_a_transfer_does_without_a_compile_cache(
    home: Path,
    tmp_path: Path,
    capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise InputError("others can write to it")

    monkeypatch.setattr("glow_jax.compile_cache.use_compile_cache", refuse)
    monkeypatch.setattr(type(jax.config), "jax_enable_compilation_cache", True)
    shown = ["--expression", f"{home}/shots", "--source", f"{home}/ann", "--target", f"{home}/bob"]
    words = [
        "transfer",
        *shown,
        "--alpha",
        "0.5",
        "--model",
        f"{home}/model",
        "-o",
        f"{tmp_path}/o",
    ]
    assert main(words) == 0
    assert "compiled programs are not kept: others can write to it" in capsys.readouterr().err
