"""Many devices and several processes train as one device does."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from glow_jax.checkpoints import load, read_card, weights_of
from tests.support.paths import ROOT
from tests.support.toy_training import smooth_images

pytestmark = pytest.mark.slow

RUN = """
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from glow_jax.training import parallel
if {process!r} is not None:
    parallel.join("localhost:{port}", *{process!r})
import jax
from tests.support import toy_training as toy
from glow_jax.training.run import Reporting
assert jax.device_count() == {devices}, jax.devices()
out = Path({out!r})

def write(row):
    if jax.process_index() == 0:
        with out.with_suffix(".exact").open("a") as file:
            print(repr(row["bits_per_dim"]), repr(row["held_out_bits_per_dim"]), file=file)

toy.run(
    out,
    config=dataclasses.replace(toy.RUN, batch_size=16),
    reporting=Reporting(every=3, n_pictures={pictures}, progress=write),
)
print("done", jax.process_index(), jax.process_count())
"""


def child(
    out: Path,
    devices: int,
    process: tuple[int, int] | None = None,
    port: int = 0,
    pictures: int = 0,
) -> subprocess.Popen:
    """A run on `devices` devices, this many over all processes."""
    count = process[1] if process else 1
    code = RUN.format(
        root=str(ROOT), process=process, port=port, devices=devices, out=str(out), pictures=pictures
    )
    flags = f"--xla_force_host_platform_device_count={devices // count}"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    return out


def rows(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def one_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "run"
    finish(child(out, 1))
    return out


def losses(out: Path) -> np.ndarray:
    """Bits/dim in training and held out, a row of the log each, unrounded."""
    return np.loadtxt(out.with_suffix(".exact"))


def assert_same_run(a: Path, b: Path) -> None:
    assert [r["step"] for r in rows(a)] == [r["step"] for r in rows(b)] == [3, 6, 9, 12]
    difference = np.abs(losses(a)[:4] - losses(b)[:4]).max()  # a run that went on has more
    assert difference < 1e-5
    print("largest difference of a loss", difference)
    ours, theirs = (weights_of(load(out / "model", fold=False)) for out in (a, b))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=2e-4), ours, theirs)
    assert (a / "run.json").read_bytes() == (b / "run.json").read_bytes()


def test_eight_devices_train_as_one(one_device: Path, tmp_path: Path) -> None:
    finish(child(tmp_path / "run", 8))
    assert_same_run(one_device, tmp_path / "run")
    assert read_card(tmp_path / "run" / "model")["devices"]["count"] == 8


def test_two_processes_train_as_one(one_device: Path, tmp_path: Path) -> None:
    """Each on two devices; process 0 alone writes rows, pictures and the model."""
    out, port = tmp_path / "run", free_port()
    both = [child(out, 4, (i, 2), port, pictures=4) for i in range(2)]
    said = [finish(p) for p in both]
    assert "done 0 2" in said[0] and "done 1 2" in said[1]
    assert_same_run(one_device, out)
    devices = read_card(out / "model")["devices"]
    assert devices == {"kind": "cpu", "count": 4, "processes": 2}
    assert len(list((out / "images").iterdir())) == 8


def test_a_run_of_two_processes_goes_on_in_one(one_device: Path, tmp_path: Path) -> None:
    """A checkpoint of several processes is whole, and knows nothing of how many there were."""
    out, port = tmp_path / "run", free_port()
    both = [child(out, 4, (i, 2), port) for i in range(2)]
    for process in both:
        finish(process)
    left = out / "checkpoints" / "12"
    assert left.is_dir()
    for gone in (left, out / "model"):
        subprocess.run(["rm", "-r", str(gone)], check=True)
    finish(child(out, 1))
    assert_same_run(one_device, out)


DISAGREE = """
import sys
sys.path.insert(0, {root!r})
from glow_jax.training import parallel
parallel.join("localhost:{port}", {index}, 2)
from glow_jax.io.errors import InputError

def no_room():
    raise InputError("no room")

for attempt in (
    lambda: parallel.check_agreement("ab"[{index}], "recipe"),
    lambda: parallel.by_first(no_room),
    lambda: parallel.in_turn(no_room if {index} else lambda: 1),
    lambda: print(parallel.in_turn(lambda: "both")),
):
    try:
        attempt()
    except InputError as error:
        print(error)
print(parallel.rows_here(parallel.batch_mesh(), 6))
"""


def test_what_fails_in_one_process_fails_in_all() -> None:
    port = free_port()
    both = []
    for index in range(2):
        code = DISAGREE.format(root=str(ROOT), port=port, index=index)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        both.append(subprocess.Popen([sys.executable, "-c", code], text=True, **pipes))
    said = [[line for line in finish(p).splitlines() if "Gloo" not in line] for p in both]
    assert "process 0 has another recipe than process 1" in said[0][0]
    assert "process 1 has another recipe than process 0" in said[1][0]
    assert said[0][1:] == [
        "no room",
        "process 1 stopped; see its message",
        "both",
        "slice(0, 3, None)",
    ]
    assert said[1][1:] == [
        "process 0 stopped; see its message",
        "no room",
        "both",
        "slice(3, 6, None)",
    ]


def test_the_command_line_joins_two_processes(tmp_path: Path) -> None:
    """An odd batch for four devices is one line in both; an even one is a run."""
    for i, image in enumerate(smooth_images(12)):
        Image.fromarray(image).resize((16, 16)).save(tmp_path / f"{i}.png")
    data = f"folder:{tmp_path}"
    words = ["train", "--data", data, "--held-out", data, "--preset", "debug", "--steps", "2"]
    words += ["--pictures", "0", "--no-tensorboard", "-o", f"{tmp_path / 'run'}"]

    def glow_jax(batch_size: int) -> list[tuple[int, str, str]]:
        port = free_port()
        command = [sys.executable, "-m", "glow_jax.cli", *words, f"--batch-size={batch_size}"]
        both = [
            subprocess.Popen(
                [*command, f"--coordinator=localhost:{port}", f"--process={i}/2"],
                env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]
        said = [p.communicate(timeout=300) for p in both]
        return [(p.returncode, *s) for p, s in zip(both, said, strict=True)]

    for code, _, err in glow_jax(6):
        assert code == 2 and "batch size 6 does not divide by 4 devices; use 4 or 8" in err
    first, second = glow_jax(8)
    assert first[0] == second[0] == 0, (first, second)
    assert "12 training images" in first[2] and "model: " in first[1]
    assert "training images" not in second[2] and "model: " not in second[1]
    assert (tmp_path / "run" / "model" / "log.csv").exists()
