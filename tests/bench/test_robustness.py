"""Damage to every kind of file is met with one line; and what the bench says of it is true."""

import os
import random
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from bench.robustness import damage, pool
from bench.robustness.__main__ import summary
from bench.robustness.kind import Kind, inputs, write
from bench.robustness.kinds import MODULES, all_kinds, find
from bench.robustness.kinds.pictures import png_of
from bench.robustness.page import page
from eval.files import read_picture
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from tests.support.paths import ROOT

KINDS = {kind.name: kind for kind in all_kinds()}
# A lock of other content is free; a damaged record of a crop is as if the crop were not there.
NEVER_REFUSED = ("locks", "folders of crops (align)")
DEAR = ("command lines", "extreme latents, alphas, pictures; fast")  # compile


def ends_well(kind: Kind, folder: Path, number: int, files: damage.Files) -> bool:
    """Whether an input is accepted; if not, the error must be one line."""
    place = folder / f"{number}"
    place.mkdir()
    write(place, files)
    try:
        kind.read(place)
    except (InputError, OSError) as error:
        assert str(error).isprintable() and len(str(error)) < 5000, error
        return False
    except BaseException as error:
        raise AssertionError(f"{kind.name}, number {number}") from error
    return True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in KINDS if name not in DEAR])
def test_damage_is_met_with_one_line(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    sound = kind.sound()
    for number, files in enumerate(sound):
        assert ends_well(kind, tmp_path, number, files), f"{name}: sound input {number} is refused"
    for number in range(1000, 1006):
        rng = random.Random(f"{name} 1 {number}")
        ends_well(kind, tmp_path, number, kind.make(rng, sound))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_much_damage_is_met_with_one_line(name: str) -> None:
    row = summary(name, pool.outcomes(name, 2, 100))
    assert row["inputs"] == 100
    assert not row["traceback"] and not row["crash"] and not row["hang"], row["faults"]
    assert row["accepted"] and (row["refused"] or name in NEVER_REFUSED)


def test_a_picture_a_pixel_wide_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """67 million rows take 2.5 GB besides their pixels."""
    path = tmp_path / "a.png"
    path.write_bytes(png_of(1, 2**26, b""))
    for reader in (read_image, read_picture):
        with pytest.raises(InputError, match="a side of at most 65536"):
            reader(path)


# -- what the measurements rest on

SOUND: dict[str, bytes] = {
    "a.json": b'{"a": [1, 2, {"b": "c"}]}',
    "a.jsonl": b'{"a": 1}\n{"a": 2}\n',
    "a.csv": b"a,b\n1,2\n",
    "a.yaml": b"a: [1, 2]\n",
    "a.bin": bytes(range(256)),
}


@pytest.mark.parametrize("name", SOUND)
def test_equal_seeds_make_equal_damage_and_others_other(name: str) -> None:
    def made(seed: int) -> list[bytes]:
        rng = random.Random(seed)
        return [damage.changed(rng, name, SOUND[name]) for _ in range(40)]

    assert made(1) == made(1) != made(2)
    assert sum(data != SOUND[name] for data in made(1)) > 35


def test_a_changed_zip_has_true_checksums() -> None:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", bytes(500))
        archive.writestr("b", bytes(500))
    contents = set()
    for seed in range(30):
        data = damage.zip_changed(random.Random(seed), file.getvalue())
        with zipfile.ZipFile(BytesIO(data)) as archive:
            assert archive.testzip() is None
            contents |= {archive.read(info) for info in archive.infolist()}
    assert len(contents) > 5


def test_an_input_depends_on_kind_seed_and_number_alone() -> None:
    kind = find("TFRecord")
    some = [make() for make in inputs(kind, 3, 40)]
    last = list(inputs(kind, 3, 40))[39]()
    assert some[39] == last
    assert some != [make() for make in inputs(kind, 4, 40)]


WORKER = """
import json, os, signal, sys, time
first, count = int(sys.argv[1]), int(sys.argv[2])
for number in range(first, count):
    print(json.dumps({"begin": number}), flush=True)
    if number == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 3:
        while True:
            pass
    done = {"result": "accepted", "message": "", "mb": float(number), "s": 0.0}
    print(json.dumps(done), flush=True)
"""


def test_a_crash_and_a_hang_are_counted_and_the_rest_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "TIME_LIMIT", 0.3)

    def start(words: list[str]) -> pool.Process:
        code = [sys.executable, "-c", WORKER, *words[2:4]]
        return subprocess.Popen(code, stdout=subprocess.PIPE)

    found = list(pool.outcomes("x", 1, 6, start))
    assert [f.number for f in found] == list(range(6))
    results = [f.result for f in found]
    assert results == ["accepted", "crash", "accepted", "hang", "accepted", "accepted"]
    assert "SIGSEGV" in found[1].message
    row = summary("x", found)
    assert (row["inputs"], row["accepted"], row["crash"], row["hang"]) == (6, 4, 1, 1)
    assert row["peak_mb"] == 5.0 and len(row["faults"]) == 2


def test_a_worker_counts_what_is_neither_accepted_nor_one_line(tmp_path: Path) -> None:
    from bench.robustness import worker

    def read(folder: Path) -> None:
        text = (folder / "a").read_text()
        if text == "two lines":
            raise InputError("one\ntwo")
        if text == "wrong":
            raise KeyError("x")
        if text == "refused":
            raise InputError("one line")
        if text == "large":
            assert len(bytes(2**26)) and len(b"x" * 2**26)

    kind = Kind("x", 1, list, read)
    texts = {
        "fine": "accepted",
        "refused": "refused",
        "wrong": "traceback",
        "two lines": "traceback",
    }
    here = os.getcwd()
    for text, result in texts.items():
        assert worker.tried(kind, {"a": text.encode()}, tmp_path)["result"] == result
    assert os.getcwd() == here
    assert worker.tried(kind, {"a": b"large"}, tmp_path)["mb"] > 60


def test_the_page_counts_faults_and_names_them() -> None:
    machine = {"commit": "0" * 40, "cores": 2, "cpu": "x", "python": "3.11", "versions": {}}
    row = {"kind": "PNG", "inputs": 9, "accepted": 4, "refused": 4, "printed": 0, "traceback": 1}
    row |= {
        "crash": 0,
        "hang": 0,
        "peak_mb": 12.0,
        "worst_s": 0.5,
        "faults": [[3, "traceback", "KeyError"]],
        "commit": "0" * 40,
    }
    cells = {"kill -9": "same bytes", "SIGTERM": "one line", "disk full": "fault: lost a file"}
    common = {"machine": machine, "seed": 1, "seconds": 60}
    text = page(
        {**common, "rows": [row]},
        {**common, "table": {"encode": cells}, "commits": {"encode": "1" * 40}},
    )
    assert "| PNG | 9 | 4 | 4 | 0 | 1 | 0 | 0 | 12 | 0.5 |" in text
    assert "- PNG: 1 with a traceback\n" in text and "lost a file" in text
    assert "KeyError" not in text  # the page is for readers; robustness.json has it
    assert "1 cell ends with the same bytes, 1 with one line, and 1 with a fault" in text.replace(
        "\n", " "
    )


def test_every_module_of_kinds_is_listed() -> None:
    names = {p.stem for p in (ROOT / "bench/robustness/kinds").glob("*.py")} - {"__init__"}
    assert names == set(MODULES)
    assert len({kind.name for kind in all_kinds()}) == len(all_kinds())
    assert sum(kind.n_inputs for kind in all_kinds()) >= 10_000
