"""Batches: killed anywhere, in shards, with bad pictures, in every format, on many devices."""

import csv
import errno
import itertools
import json
import os
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from glow_jax.data.tfrecord import Shard, TFRecords
from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.output_schema import RESULT_FIELDS, TROUBLE_FIELDS
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance
from tests.support.expressions import painting_models, portraits
from tests.support.linear import SIZE, contents, linear_codec, linear_models, picture, rows_of
from tests.support.paths import ROOT
from transfer.codec import in_batches
from transfer.jobs import output_folder as folder
from transfer.jobs.disk_cache import CacheFull, DiskCache
from transfer.jobs.inputs import Trouble
from transfer.jobs.job import Job, make_job
from transfer.jobs.merge import merge
from transfer.jobs.plan_file import read_plan
from transfer.jobs.run import Run, run
from transfer.jobs.schedule import lower_priority
from transfer.jobs.shards import crc32c, framed
from transfer.methods.base import Models
from transfer.methods.trust_region import AUTO_ALPHAS

MADE_UP = Provenance("trainedAlgorithmicMedia", "test", {})
ALPHAS = (0.0, 0.5, 1.0)


def people_in(folder: Path, size: tuple[int, int] = SIZE) -> Path:
    """Three people with four pictures each, and a table of every picture of two on all three."""
    seeds = itertools.count(1)
    for name in ("ann", "bob", "cat"):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            pixels = picture(next(seeds)) if size == SIZE else portraits(1, next(seeds))[0]
            write_image(folder / name / f"{i}.png", pixels, MADE_UP)
    with (folder / "job.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["expression", "source", "target", "alpha"])
        for source, target in itertools.product(("ann", "bob"), ("ann", "bob", "cat")):
            rows.writerows([source, source, target, alpha] for alpha in ALPHAS)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return people_in(tmp_path / "in")


def job_of(home: Path, models: Models | None = None, **options: Any) -> Job:
    options = {"chunk_size": 8} | options
    return make_job(read_plan(home / "job.csv"), models or linear_models(), **options)


def make(job: Job, out: Path, models: Models | None = None, **options: Any) -> Run:
    options = {"batch_size": 4, "versions": {"glow-jax": "test"}} | options
    return run(job, models or linear_models(), out, **options)


def test_a_batch_makes_every_row(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = make(job_of(home), out)
    assert (summary.made, summary.kept, summary.encoded_again) == (72, 0, 0)
    rows = rows_of(out)
    assert len(rows) == len({r["id"] for r in rows}) == 72
    assert [r["line"] for r in rows] == [str(2 + i // 4 % 18) for i in range(72)]
    means = {n: np.mean([picture(4 * i + j + 1) + 0.5 for j in range(4)], 0) for i, n in PEOPLE}
    for row in rows:
        shot = read_image(row["expression"]) + 0.5
        wanted = means[row["target"]] + float(row["alpha"]) * (shot - means[row["source"]])
        got = read_image(out / row["file"]).astype(int)
        assert np.abs(got - np.clip(np.floor(wanted), 0, 255)).max() <= 1
        record = read_provenance(out / row["file"])
        assert record is not None and record.recipe["id"] == row["id"]
    told = json.loads((out / "job.json").read_text())
    assert (told["outputs"], told["chunks"], told["method"]) == (72, 9, "paper")


PEOPLE = list(enumerate(("ann", "bob", "cat")))


def test_each_picture_is_encoded_once_and_outputs_are_decoded_in_full_batches(
    home: Path, tmp_path: Path
) -> None:
    encoded, decoded, read = [], [], []

    def encode(images: np.ndarray) -> Any:
        encoded.append(len(images))
        return linear_codec().encode(images)

    def decode(latents: Any) -> np.ndarray:
        decoded.append(len(latents[0]))
        return np.asarray(latents[0])

    def reader(path: str) -> np.ndarray:
        read.append(path)
        return read_image(path, SIZE)

    models = linear_models(encode=encode, decode=decode)
    make(job_of(home), tmp_path / "out", models, load=reader)
    assert sorted(set(read)) == sorted(read) and len(read) == 12
    assert set(encoded) == {4} and len(encoded) == 3
    assert set(decoded) == {4} and len(decoded) == 3 + 18


def test_free_places_of_a_batch_are_taken_by_the_pictures_that_are_needed_next(
    home: Path, tmp_path: Path
) -> None:
    lines = [f"ann/0.png,ann/1.png,{who}/{i}.png,1" for who in ("bob", "cat") for i in range(4)]
    (home / "job.csv").write_text("\n".join(["expression,source,target,alpha", *lines]) + "\n")
    encoded = []

    def encode(images: np.ndarray) -> Any:
        encoded.append(len(np.unique(images, axis=0)))
        return linear_codec().encode(images)

    make(job_of(home), tmp_path / "out", linear_models(encode=encode))
    assert encoded == [4, 4, 2]  # not 4 and 2, then 4


def test_rows_that_ask_for_the_same_are_one_output(home: Path, tmp_path: Path) -> None:
    (home / "ann" / "copy.png").write_bytes((home / "ann" / "0.png").read_bytes())
    with (home / "job.csv").open("a") as file:
        file.write("ann/1.png,ann,cat,0.5\nann/copy.png,ann,cat,0.50\n")
    job = job_of(home)
    assert job.duplicates == 2 + 3 * 3  # two rows; and a picture that is there twice
    assert make(job, tmp_path / "out").made == len(job.order) == len(job.plan) - 11


def test_a_cache_too_small_costs_encodes_and_changes_no_byte(home: Path, tmp_path: Path) -> None:
    job = job_of(home)
    make(job, tmp_path / "large")
    summary = make(job, tmp_path / "small", cache_bytes=1)
    assert summary.encoded_again > 20
    assert contents(tmp_path / "large") == contents(tmp_path / "small")


def test_cache_drop_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache, numbers = DiskCache(tmp_path, 3 * 40), np.arange(10, dtype=np.float32)
    for key in range(3):
        cache.put(key, numbers + key)
    assert cache.capacity == 3 and cache.get(0) is not None
    cache.put(3, numbers + 3)
    assert cache.get(1) is None and 2 in cache
    cache.put(2, numbers - 2)
    for key, wanted in ((0, numbers), (2, numbers - 2), (3, numbers + 3)):
        got = cache.get(key)
        assert got is not None
        np.testing.assert_array_equal(got, wanted)
    assert not list(tmp_path.iterdir())  # its file has no name


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, CacheFull), (errno.EFBIG, OutputError)]
)
def test_a_cache_that_cannot_be_written_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type
) -> None:
    """Of an array, a part was written: the next call tells the reason, which is no guess."""

    def part(file: int, data: bytes, start: int) -> int:
        if start:
            raise OSError(number, os.strerror(number))
        return len(data) // 2

    monkeypatch.setattr(os, "pwrite", part)
    with pytest.raises(OutputError) as error:
        DiskCache(tmp_path, 10**6).put(0, np.arange(10))
    assert type(error.value) is kind
    why = f"the cache cannot be written ({os.strerror(number)})"
    assert str(error.value) == f"{tmp_path}: {why}"


# -- shards, limits, another job


def test_shards_in_folders_of_their_own_merge_to_the_whole(home: Path, tmp_path: Path) -> None:
    job, parts = job_of(home), [tmp_path / "a", tmp_path / "b"]
    make(job, tmp_path / "whole")
    first = make(job, parts[0], shard=(1, 2))
    assert (first.made, first.totals.missing) == (40, 32)
    partly = merge(parts[:1], tmp_path / "early")
    assert (partly.outputs, partly.missing) == (40, 32)
    make(job, parts[1], shard=(2, 2))
    totals = merge(parts, tmp_path / "merged")
    assert (totals.outputs, totals.missing) == (72, 0)
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
    merge(parts, parts[0])  # into one of them
    assert contents(parts[0]) == contents(tmp_path / "whole")
    assert make(job, tmp_path / "merged").made == 0  # it is a job's folder like any


def test_shards_may_share_a_folder(home: Path, tmp_path: Path) -> None:
    job = job_of(home)
    make(job, tmp_path / "whole")
    for i in (3, 1, 2):
        summary = make(job, tmp_path / "out", shard=(i, 3))
    assert summary.totals.missing == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_only_shards_of_one_job_are_merged(home: Path, tmp_path: Path) -> None:
    make(job_of(home), tmp_path / "a", limit=1)
    make(job_of(home, chunk_size=9), tmp_path / "b", limit=1)
    for outs, out, told in [
        (["a", "b"], "c", "b: holds another job than"),
        (["a", "in"], "c", "in: holds no glow-jax job"),
        (["a"], "b", "b: holds another job"),
        (["a"], "in", "in: exists, but holds no glow-jax job"),
    ]:
        with pytest.raises(InputError, match=told):
            merge([tmp_path / name for name in outs], tmp_path / out)


def test_a_limit_stops_after_the_chunk_in_which_it_is_reached(home: Path, tmp_path: Path) -> None:
    job, out = job_of(home), tmp_path / "out"
    make(job, tmp_path / "whole")
    summary = make(job, out, limit=9)
    assert (summary.made, summary.totals.outputs, summary.totals.missing) == (16, 16, 56)
    assert len(rows_of(out)) == 16
    summary = make(job, out)
    assert (summary.made, summary.kept, summary.totals.missing) == (56, 16, 0)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_folder_is_one_jobs_and_one_runs(home: Path, tmp_path: Path) -> None:
    job, out = job_of(home), tmp_path / "out"
    make(job, out, limit=1)
    other = linear_models(fingerprint="0" * 64)
    for changed in (job_of(home, other), job_of(home, chunk_size=4), job_of(home, format="webp")):
        with pytest.raises(InputError, match="holds another job"):
            make(changed, out)
    with folder.claimed(out, job, {}, "1/1"):
        with pytest.raises(InputError, match="another run uses this folder"):
            make(job, out)
        assert make(job, out, shard=(2, 2)).made > 0
    assert make(job, out).totals.missing == 0


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_one_runs_where_the_file_system_has_no_flock(
    number: int, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    job, out = job_of(home), tmp_path / "out"
    monkeypatch.setattr("fcntl.flock", none)
    assert make(job, out, limit=1).made > 0
    with folder.claimed(out, job, {}, "1/1"):
        with pytest.raises(InputError, match="another run uses this folder.*remove that file"):
            make(job, out)
        assert make(job, out, shard=(2, 2)).made > 0
    (out / f".{'0' * 32}.tmp").touch()
    assert make(job, out).totals.missing == 0
    assert not list(out.glob(".*.tmp")) and not list(out.glob(".owner-*"))


@pytest.mark.parametrize("name", [".lock-1-of-1", ".lock-of-somebody"])
def test_locks_follow_no_link_and_empty_no_file(name: str, home: Path, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("precious")
    (out / name).symlink_to(victim)
    with pytest.raises(InputError, match="cannot be used as a lock .it is a link."):
        make(job_of(home), out)
    assert victim.read_text() == "precious"


def test_a_strangers_table_touches_nothing_outside(home: Path, tmp_path: Path) -> None:
    job, out = job_of(home), tmp_path / "out"
    make(job, out, limit=1)
    table = out / "rows" / "0000000.csv"
    first = rows_of(out)[0]["file"]
    victim = tmp_path / "victim"
    for file in ("../victim", str(victim), "images/../../victim"):
        victim.write_bytes((out / first).read_bytes())
        table.write_text(table.read_text().replace(f",{first},", f",{file},"))
        assert merge([out], tmp_path / f"merged{len(file)}").outputs == 0
        folder.forget(out, 0)
        assert victim.exists()
        make(job, out, limit=1)


def test_what_does_not_fit_is_one_line(home: Path, tmp_path: Path) -> None:
    def decode(latents: Any) -> np.ndarray:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nmore")

    models = linear_models()
    make(job_of(home), tmp_path / "out", models, limit=1)
    with pytest.raises(InputError, match=r"4 images at once do not fit .* `batch_size`"):
        make(job_of(home), tmp_path / "out", linear_models(decode=decode))


def test_pictures_may_be_read_in_another_way(home: Path, tmp_path: Path) -> None:
    job = job_of(home, alignment="mirrored")
    assert not set(job.ids.tolist()) & set(job_of(home).ids.tolist())
    make(job_of(home), tmp_path / "plain")
    make(job, tmp_path / "mirrored", load=lambda path: read_image(path, SIZE)[:, ::-1].copy())
    pairs = zip(rows_of(tmp_path / "plain"), rows_of(tmp_path / "mirrored"), strict=True)
    for one, other in pairs:
        a = read_image(tmp_path / "plain" / one["file"])
        np.testing.assert_array_equal(read_image(tmp_path / "mirrored" / other["file"]), a[:, ::-1])


# -- bad pictures


def test_bad_pictures_are_rows_and_mended_ones_are_made(home: Path, tmp_path: Path) -> None:
    job, out = job_of(home), tmp_path / "out"
    make(job, tmp_path / "whole")
    whole = {p: p.read_bytes() for p in [home / "ann" / "1.png", *(home / "cat").iterdir()]}
    for path in whole:
        path.write_bytes(b"no picture")
    totals = make(job_of(home), out).totals
    # Of ann's pictures one is no expression; on cat, nobody's can be put.
    assert (totals.outputs, totals.failed, totals.bad_inputs) == (72 - 3 * 3 - 21, 30, 5)
    failures = rows_of(out, "failures.csv")
    outputs = [row for row in failures if row["id"]]
    assert len(outputs) == 30 and {row["stage"] for row in failures} == {"read"}
    lines = {row["line"] for row in outputs if "no picture of cat can be used" in row["reason"]}
    assert lines == {"8", "9", "10", "17", "18", "19"}
    assert sum(not row["id"] for row in failures) == 5
    assert len(rows_of(out, "inputs.csv")) == 7
    for path, data in whole.items():
        path.write_bytes(data)
    totals = make(job_of(home), out).totals  # other contents, so their outputs are not done
    assert (totals.outputs, totals.failed, totals.bad_inputs) == (72, 0, 0)
    assert contents(out) == contents(tmp_path / "whole")


def test_what_failed_is_tried_again_when_asked(home: Path, tmp_path: Path) -> None:
    job, out, broken = job_of(home), tmp_path / "out", [str(home / "ann" / "2.png")]

    def read(path: str) -> np.ndarray:
        if path in broken:
            raise InputError(f"{path}: the share is away")
        return read_image(path, SIZE)

    assert make(job, out, load=read).totals.failed == 9
    assert "the share is away" in rows_of(out, "failures.csv")[0]["reason"]
    broken.clear()
    again = make(job, out, load=read)
    assert (again.made, again.totals.failed) == (0, 9)
    healed = make(job, out, load=read, retry_failed=True)
    assert (healed.totals.failed, healed.totals.outputs) == (0, 72)
    assert not (out / "failures.csv").exists()


def test_a_job_of_bad_pictures_only_ends(home: Path, tmp_path: Path) -> None:
    for path in home.rglob("*.png"):
        path.write_text(str(path))
    totals = make(job_of(home), tmp_path / "out").totals
    assert (totals.outputs, totals.failed, totals.bad_inputs) == (0, 72, 12)
    assert rows_of(tmp_path / "out") == []


def test_a_trouble_names_its_row() -> None:
    assert [f in TROUBLE_FIELDS for f in Trouble("read", "a", "b").__dict__] == [True] * 3


# -- killed


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from tests.support.linear import linear_models
from tests.transfer.test_batch import job_of, make

def slow(latents):
    time.sleep(0.04)
    return latents[0]

home, out = map(Path, sys.argv[1:])
job, rng, kills = job_of(home), random.Random(5), 0
while True:
    child = os.fork()
    if not child:
        made = make(job, out, linear_models(decode=slow))
        print("made", made.made, "kept", made.kept, "kills", kills, flush=True)
        os._exit(0)
    time.sleep(rng.uniform(0.05, 0.4) * 1.1**kills)  # on a busy machine, too, it ends
    os.kill(child, signal.SIGKILL)
    if os.waitpid(child, 0)[1] == 0:
        break
    kills += 1
"""


def test_killed_at_any_moment_it_ends_with_the_same_files(home: Path, tmp_path: Path) -> None:
    make(job_of(home), tmp_path / "whole")
    code, out = KILLED, tmp_path / "out"
    words = [sys.executable, "-c", code, str(home), str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    words = done.stdout.split()
    told = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert told["kills"] >= 2 and told["kept"] > 0, done.stdout
    assert contents(out) == contents(tmp_path / "whole")
    hidden = [p for p in out.rglob(".*") if p.is_file() and not p.name.startswith(".lock-")]
    assert not hidden


def test_a_failing_device_leaves_whole_chunks(home: Path, tmp_path: Path) -> None:
    job, out, calls = job_of(home), tmp_path / "out", itertools.count()

    def decode(latents: Any) -> np.ndarray:
        if next(calls) == 9:
            raise KeyboardInterrupt
        return np.asarray(latents[0])

    with pytest.raises(KeyboardInterrupt):
        make(job, out, linear_models(decode=decode))
    done = [k for k in range(job.n_chunks) if folder.is_done(out, job, k)]
    assert done == [0, 1, 2]
    assert make(job, out).kept == 24


# -- methods and alphas


@pytest.fixture
def portrayed(tmp_path: Path) -> Path:
    return people_in(tmp_path / "in", (64, 64))


def mixed(home: Path) -> None:
    (home / "job.csv").write_text(
        "expression,source,target,alpha,method,id\n"
        "ann/1.png,ann,bob,0.5,warp,one\nann/1.png,ann,bob,auto,warp,two\n"
        "ann/1.png,ann,bob,0.5,paper,three\nann/2.png,ann,cat,auto,paper,four\n"
        "ann/2.png,ann,cat,1,,five\n"
    )


@pytest.mark.slow
def test_methods_and_chosen_alphas_mix(portrayed: Path, tmp_path: Path) -> None:
    mixed(portrayed)
    models, out = painting_models(), tmp_path / "out"
    summary = make(job_of(portrayed, models, chunk_size=3), out, models)
    rows = {row["user_id"]: row for row in rows_of(out)}
    assert list(rows) == ["one", "two", "three", "four", "five"] and summary.made == 5
    assert [r["method"] for r in rows.values()] == ["warp", "warp", "paper", "paper", "warp"]
    assert rows["two"]["alpha"] in map(str, AUTO_ALPHAS)
    assert [rows[n]["alpha"] for n in ("one", "three", "five")] == ["0.5", "0.5", "1.0"]
    assert "_aauto_" in rows["four"]["file"]
    record = read_provenance(out / rows["two"]["file"])
    assert record is not None and record.recipe["alpha"] == float(rows["two"]["alpha"])
    alone = {}
    for name in rows:  # each as if it were the whole job
        lines = (portrayed / "job.csv").read_text().splitlines()
        one = [line for line in lines if line.endswith((",id", f",{name}"))]
        (portrayed / "one.csv").write_text("\n".join(one) + "\n")
        job = make_job(read_plan(portrayed / "one.csv"), models)
        make(job, tmp_path / name, models)
        (alone[name],) = rows_of(tmp_path / name)
        made = (tmp_path / name / alone[name]["file"]).read_bytes()
        assert made == (out / rows[name]["file"]).read_bytes()


def test_a_model_without_expressions_names_the_line(home: Path) -> None:
    mixed(home)
    with pytest.raises(InputError, match=r"job\.csv: line 2: model 'linear' has no expressions"):
        job_of(home)


def test_likelihood_can_be_left_out(home: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def bits(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return np.zeros(len(images))

    make(job_of(home), tmp_path / "out", linear_models(bits_per_dim=bits), likelihood=False)
    assert len(calls) == 3  # of the inputs
    assert {row["bits_per_dim"] for row in rows_of(tmp_path / "out")} == {""}
    assert "" not in {row["bits_per_dim"] for row in rows_of(tmp_path / "out", "inputs.csv")}


def test_any_number_of_images_runs_in_batches_of_one_size() -> None:
    sizes = []

    def encode(images: np.ndarray) -> Any:
        sizes.append(len(images))
        return (images.astype(np.float32),)

    codec, images = in_batches(linear_codec(encode=encode), 4), portraits(9)
    (latents,) = codec.encode(images)
    np.testing.assert_array_equal(latents, images)
    assert sizes == [4, 4, 4]


def test_on_a_cpu_copies_that_fill_a_batch_are_not_computed() -> None:
    seen = []

    def bits_per_dim(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return images.astype(np.float64).mean((1, 2, 3))

    codec, images = in_batches(linear_codec(bits_per_dim=bits_per_dim), 4), portraits(6)
    copies = np.repeat(images[:1], 10, axis=0)
    filled = np.concatenate([images, copies])
    found = codec.bits_per_dim(filled)
    np.testing.assert_array_equal(found, filled.astype(np.float64).mean((1, 2, 3)))
    assert [len(batch) for batch in seen] == [4, 4]
    assert len(codec.bits_per_dim(copies)) == 10 and len(seen) == 3
    equal = np.concatenate([images[:1], images[:2]])  # a copy before another row is computed
    np.testing.assert_array_equal(codec.bits_per_dim(equal), found[[0, 0, 1]])


@pytest.mark.parametrize(("few", "size"), [(1000, 4), (0, 16)])
def test_a_small_job_computes_few_images_at_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, size: int
) -> None:
    monkeypatch.setattr("transfer.jobs.run.FEW_IMAGES", few)
    sizes = []

    def bits_per_dim(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return np.zeros(len(images))

    make(job_of(home), tmp_path / "out", linear_models(bits_per_dim=bits_per_dim), batch_size=16)
    assert set(sizes) == {size}


# -- formats


def test_webp(home: Path, tmp_path: Path) -> None:
    make(job_of(home), tmp_path / "png")
    make(job_of(home, format="webp"), tmp_path / "webp")
    pairs = zip(rows_of(tmp_path / "png"), rows_of(tmp_path / "webp"), strict=True)
    for one, other in pairs:
        assert other["file"] == one["file"].replace(".png", ".webp")
        pixels = [read_image(tmp_path / f / r["file"]) for f, r in (("png", one), ("webp", other))]
        np.testing.assert_array_equal(*pixels)
    record = read_provenance(tmp_path / "webp" / other["file"])
    assert record is not None and record.recipe["id"] == other["id"]


def fields(data: bytes) -> list[tuple[int, bytes]]:
    """The length-delimited fields of a protocol buffer."""
    found, at = [], 0
    while at < len(data):
        key, at = data[at], at + 1
        assert key & 7 == 2
        length = shift = 0
        while True:
            byte, at = data[at], at + 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        found.append((key >> 3, data[at : at + length]))
        at += length
    assert at == len(data)
    return found


def features(example: bytes) -> dict[str, Any]:
    """A `tf.train.Example` with one value a feature."""
    ((_, entries),) = fields(example)
    found: dict[str, Any] = {}
    for _, entry in fields(entries):
        (_, name), (_, feature) = fields(entry)
        ((kind, values),) = fields(feature)
        ((_, value),) = fields(values)
        found[name.decode()] = value if kind == 1 else struct.unpack("<f", value)[0]
    return found


def tfrecords(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    count = sum(row["file"].startswith(f"shards/{path.name}#") for row in rows_of(path.parents[1]))
    records = TFRecords([Shard(str(path), 0, count)])
    assert data == b"".join(framed(records[i]) for i in range(count))
    return [features(records[i]) for i in range(count)]


def array_records(path: Path) -> list[dict[str, Any]]:
    module = pytest.importorskip("array_record.python.array_record_module")
    reader = module.ArrayRecordReader(str(path))
    return [features(data) for data in reader.read_all()]


def tar_members(path: Path) -> list[dict[str, Any]]:
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        assert {(m.mtime, m.uid, m.uname) for m in members} == {(0, 0, "")}
        data = {m.name: tar.extractfile(m).read() for m in members}  # type: ignore[union-attr]
    names = [name.removesuffix(".png") for name in data if name.endswith(".png")]
    return [json.loads(data[f"{n}.json"]) | {"image": data[f"{n}.png"]} for n in names]


SHARDED: dict[str, tuple[str, Callable[[Path], list[dict[str, Any]]]]] = {
    "tfrecord": (".tfrecord", tfrecords),
    "array_record": (".array_record", array_records),
    "webdataset": (".tar", tar_members),
}


@pytest.mark.parametrize("kind", SHARDED)
def test_shards_read_back(home: Path, tmp_path: Path, kind: str) -> None:
    (home / "bob" / "3.png").write_bytes(b"")
    job, out = job_of(home, format=kind, chunk_size=20), tmp_path / "out"
    ending, read_back = SHARDED[kind]
    make(job_of(home, chunk_size=20), tmp_path / "pictures")
    totals = make(job, out).totals
    assert (totals.outputs, totals.failed) == (63, 9)
    assert sorted(p.name for p in (out / "shards").iterdir()) == [
        f"{i:07d}{ending}" for i in range(4)
    ]
    images = {r["id"]: tmp_path / "pictures" / r["file"] for r in rows_of(tmp_path / "pictures")}
    shards = {p.name: read_back(p) for p in (out / "shards").iterdir()}
    assert sum(map(len, shards.values())) == 63
    for row in rows_of(out):
        file, _, place = row["file"].removeprefix("shards/").partition("#")
        record = {
            k: v.decode() if isinstance(v, bytes) and k != "image" else v
            for k, v in shards[file][int(place)].items()
        }
        assert record.pop("image") == images[row["id"]].read_bytes()  # provenance and all
        wanted = {name: row[name] for name in ("id", "source", "target", "method")}
        wanted |= {"expression": Path(row["expression"]).name, "label": "generated"}
        assert record == wanted | {"alpha": float(row["alpha"])}
    before = contents(out)
    (out / "shards" / f"0000001{ending}").unlink()
    (out / "shards" / f"0000002{ending}").write_bytes(b"")
    assert make(job, out).kept == 32
    assert contents(out) == before


def test_checksums_are_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4
    data = np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes()
    for n in (0, 1, 127, 128, 129, 256, 1000):
        plain = 0xFFFFFFFF
        for byte in data[:n]:
            plain ^= byte
            for _ in range(8):
                plain = plain >> 1 ^ (0x82F63B78 if plain & 1 else 0)
        assert crc32c(data[:n]) == plain ^ 0xFFFFFFFF


def test_parquet_has_numbers(home: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    totals = make(job_of(home), tmp_path / "out").totals
    assert totals.parquet
    table = parquet.read_table(tmp_path / "out" / "results.parquet")
    rows = rows_of(tmp_path / "out")
    assert table.column_names == list(rows[0]) == RESULT_FIELDS
    assert table["alpha"].to_pylist() == [float(row["alpha"]) for row in rows]
    assert str(table.schema.field("non_finite_pixels").type) == "int64"
    assert str(table.schema.field("edit_kept").type) == "double"
    assert table["file"].to_pylist() == [row["file"] for row in rows]


def test_many_outputs_lie_in_a_folder_a_chunk(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transfer.jobs.job.MAX_IN_ONE_FOLDER", 50)
    make(job_of(home), tmp_path / "out")
    folders = sorted(p.name for p in (tmp_path / "out" / "images").iterdir())
    assert folders == [f"{i:07d}" for i in range(9)]
    assert all(r["file"].count("/") == 2 for r in rows_of(tmp_path / "out"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_writers_leave_the_cores_to_the_decoder() -> None:
    def mine(_: object = None) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = mine()
    with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
        assert list(pool.map(mine, [0])) == [max(before, 10)]
    assert mine() == before
