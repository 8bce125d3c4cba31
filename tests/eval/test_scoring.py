"""Scoring over processes: what is kept, what is scored again, and what may kill a worker.

A `feat` module of the test's takes py-feat's place, in the workers too: it writes down each picture
that it is shown, and the first byte of a picture says what it does with it.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval import scoring
from eval.action_units import Reader, make_reader
from eval.identity import IdentityModel
from eval.reading import Reading
from eval.scoring import Judges, ScoreCache, Scored, score
from eval.table import AUS
from glow_jax.io.errors import InputError
from tests.support.judged import FACES

AU12 = AUS.index("AU12")
JUDGES = Judges(None, "py-feat")
KILLS, FAILS, SLOW = 250, 251, 252
FEAT = """
import os, time
__version__ = "0"
class Fex(list):
    def to_dict(self, kind):
        return list(self)
class Detectorv1:
    def __init__(self, **words):
        if os.path.exists(os.path.join(os.path.dirname(__file__), "broken")):
            raise OSError("broken")
    def detect(self, pixels, **words):
        value = int(pixels[0, 0, 0, 0])
        with open(os.path.join(os.path.dirname(__file__), "log"), "a") as log:
            log.write(f"{value} {os.getpid()}\\n")
        if value == 250:
            os._exit(1)
        if value == 251:
            raise RuntimeError("not this one")
        time.sleep(0.3 if os.path.exists(os.path.join(os.path.dirname(__file__), "slow")) else 0)
        face = {"FaceScore": 1.0, "FaceRectWidth": 1.0, "FaceRectHeight": 1.0, "AU12": value / 250}
        return Fex([face])
"""


class Log:
    """Which pictures were scored, how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "feat.py").write_text(FEAT)
        (folder / "torch.py").write_text("def from_numpy(array):\n    return array\n")

    def counts(self) -> Counter[int]:
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(int(line.split()[0]) for line in lines)

    def workers(self) -> set[int]:
        return {int(line.split()[1]) for line in (self.folder / "log").read_text().splitlines()}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    (tmp_path / "modules").mkdir()
    made = Log(tmp_path / "modules")
    monkeypatch.syspath_prepend(made.folder)
    for name in ("feat", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return made


@pytest.fixture(autouse=True)
def forget_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test imported in py-feat's place goes with it."""
    monkeypatch.setitem(sys.modules, "feat", sys.modules.get("feat"))
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch"))
    for name in ("feat", "torch"):
        if sys.modules[name] is None:
            del sys.modules[name]


def shots(folder: Path, values: list[int]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(len(values))]
    for path, value in zip(paths, values, strict=True):
        Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(path)
    return paths


def run(paths: list[Path], cache: Path, workers: int = 0, judges: Judges = JUDGES):
    """Score; returns what was found and the progress that was told."""
    told: list[tuple[int, int]] = []
    reader = make_reader(judges.reader)
    found = score(paths, judges, reader, cache, workers=workers, progress=lambda *n: told.append(n))
    return found, told


def level(scored: Scored) -> float:
    assert scored.reading is not None, scored
    return float(scored.reading.level[AU12])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_run_scores_nothing(log: Log, tmp_path: Path, workers: int) -> None:
    paths = shots(tmp_path / "p", list(range(20)))
    first, told = run(paths, tmp_path / "deep" / "er" / "cache", workers)
    assert told[0] == (0, 20) and told[-1] == (20, 20)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert log.counts() == dict.fromkeys(range(20), 1)
    second, told = run(paths, tmp_path / "deep" / "er" / "cache", workers)
    assert told == [(0, 0)] and sum(log.counts().values()) == 20
    for i, path in enumerate(paths):
        assert level(first[path]) == level(second[path]) == pytest.approx(i / 50)
        assert first[path].embedding is None and not first[path].problem


def test_copies_are_scored_once_and_renamed_ones_not_again(log: Log, tmp_path: Path) -> None:
    paths = shots(tmp_path / "p", [1, 2, 1, 1])
    found, told = run([*paths, paths[0]], tmp_path / "cache")
    assert told[-1] == (2, 2) and log.counts() == {1: 1, 2: 1}
    assert list(found) == paths
    paths[0].rename(tmp_path / "moved.png")
    found, told = run([tmp_path / "moved.png", *paths], tmp_path / "cache")
    assert told == [(0, 0)] and level(found[tmp_path / "moved.png"]) == pytest.approx(0.02)
    assert "0.png: cannot be read" in found[paths[0]].problem


def test_another_reader_scores_again(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = shots(tmp_path / "p", [1])
    run(paths, tmp_path / "cache")
    import feat

    monkeypatch.setattr(feat, "__version__", "1")
    _, told = run(paths, tmp_path / "cache")
    assert told[-1] == (1, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_told_and_kept(log: Log, tmp_path: Path, workers: int) -> None:
    good, bad = shots(tmp_path / "p", [1, 2])
    bad.write_bytes(bad.read_bytes()[:-30])
    missing, folder = tmp_path / "none.png", tmp_path / "dir.png"
    folder.mkdir()
    for _ in range(2):
        found, _told = run([good, bad, missing, folder], tmp_path / "cache", workers)
        assert found[bad].problem.startswith(f"{bad}: damaged or truncated PNG file (")
        assert "none.png: cannot be read (No such file" in found[missing].problem
        assert found[folder].problem == f"{folder}: not an ordinary file"
        assert level(found[good]) == pytest.approx(0.02)
    assert log.counts() == {1: 1}


def test_a_picture_that_a_reader_fails_on_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Touchy:
        name, key, notes = "touchy", "1", ()

        def read(self, pictures):
            if any(p.pixels[0, 0, 0] == FAILS for p in pictures):
                raise FloatingPointError("not this one\nplease")
            return [Reading(1, np.full(17, float(p.pixels[0, 0, 0]))) for p in pictures]

    monkeypatch.setattr(scoring, "make_reader", lambda choice: Touchy())
    paths = shots(tmp_path / "p", [1, 2, FAILS, 4])
    found = score(paths, Judges(None, "x"), Touchy(), tmp_path / "cache", workers=0)
    assert [level(found[p]) for p in paths[:2]] == [1, 2] and level(found[paths[3]]) == 4
    reading = found[paths[2]].reading
    assert reading is not None and reading.problem == "scoring failed (not this one)"
    assert np.isnan(reading.level).all()


def test_what_is_missing_ends_the_run_in_a_worker_too(log: Log, tmp_path: Path) -> None:
    paths = shots(tmp_path / "p", [1])
    reader = make_reader("py-feat")
    (log.folder / "broken").touch()
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"weights cannot be fetched \(broken\)"):
            score(paths, JUDGES, reader, tmp_path / "cache", workers=workers)
    (log.folder / "broken").unlink()
    assert level(run(paths, tmp_path / "cache")[0][paths[0]]) == pytest.approx(0.02)


def test_a_picture_that_kills_its_process_is_told_and_the_rest_scored(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BATCH", 2)
    values = [1, 2, 3, KILLS, *range(4, 16)]
    paths = shots(tmp_path / "p", values)
    found, told = run(paths, tmp_path / "cache", 1)
    assert found[paths[3]].problem == f"{paths[3]}: it ends the process that scores it"
    for path, value in zip(paths, values, strict=True):
        if value != KILLS:
            assert level(found[path]) == pytest.approx(value / 50)
    assert told[-1] == (16, 16)
    # Only pictures that were at work with it get a process each.
    assert len(log.workers()) <= 2 + scoring.QUEUED * scoring.BATCH
    before = log.counts()
    found, told = run(paths, tmp_path / "cache", 1)
    assert told[0] == (0, 1)  # what failed is tried again, and only that
    assert {k: n for k, n in log.counts().items() if n > before.get(k, 0)}.keys() <= {KILLS}
    assert "it ends the process" in found[paths[3]].problem


RUN = """
import signal
import sys
from pathlib import Path
from eval.action_units import make_reader
from eval.scoring import Judges, score
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    paths = sorted(Path(sys.argv[1]).iterdir())
    judges = Judges(None, "py-feat")
    reader = make_reader("py-feat")
    try:
        score(paths, judges, reader, Path(sys.argv[2]), workers=2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def started(log: Log, tmp_path: Path) -> subprocess.Popen:
    """A run of 60 slow pictures in a session of its own, once two batches are kept."""
    shots(tmp_path / "p", list(range(60)))
    (log.folder / "slow").touch()
    script = tmp_path / "run.py"
    script.write_text(RUN)
    root = str(FACES.parent.parent)
    environment = os.environ | {"PYTHONPATH": f"{log.folder}{os.pathsep}{root}"}
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "p", tmp_path / "cache"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for _ in range(600):
        if kept(tmp_path / "cache") >= 16:
            return process
        time.sleep(0.05)
    process.kill()
    pytest.fail("the run does not get on")


def kept(cache: Path) -> int:
    try:
        with sqlite3.connect(f"file:{cache}?mode=ro", uri=True) as db:
            return db.execute("select count(*) from scores").fetchone()[0]
    except sqlite3.Error:
        return 0


def alive(pid: int) -> bool:
    stat = Path("/proc", str(pid), "stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_run_goes_on_where_it_was_and_leaves_no_process(log: Log, tmp_path: Path) -> None:
    process = started(log, tmp_path)
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    for _ in range(200):
        if not any(alive(pid) for pid in log.workers()):
            break
        time.sleep(0.05)
    assert not any(alive(pid) for pid in log.workers())
    already = kept(tmp_path / "cache")
    assert 16 <= already < 60
    before = sum(log.counts().values())
    (log.folder / "slow").unlink()
    found, told = run(sorted((tmp_path / "p").iterdir()), tmp_path / "cache", 2)
    assert told[0] == (0, 60 - already) and told[-1][0] == 60 - already
    assert sum(log.counts().values()) - before == 60 - already
    assert kept(tmp_path / "cache") == 60
    assert all(level(s) == pytest.approx(int(p.stem) / 50) for p, s in found.items())


def test_an_interrupted_run_says_nothing_of_its_own(log: Log, tmp_path: Path) -> None:
    process = started(log, tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: all of its processes
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "")
    assert not any(alive(pid) for pid in log.workers())


GOOD = json.dumps({"faces": 1, "level": [0] * 17, "change": [0] * 17, "present": [0] * 17})


def test_a_cache_that_is_something_else_is_refused(log: Log, tmp_path: Path) -> None:
    paths = shots(tmp_path / "p", [1])
    cache = tmp_path / "cache"

    def refused(match: str) -> None:
        with pytest.raises(InputError, match=match) as error:
            run(paths, cache)
        assert str(error.value).isprintable()

    for data in (b"text, not a database, and long enough for one", os.urandom(5000)):
        cache.write_bytes(data)
        refused("cache: cannot keep scores here")
        assert cache.read_bytes() == data
    cache.unlink()
    with sqlite3.connect(cache) as db:
        db.execute("create table scores (name text)")
    refused("cache: cannot keep scores here")
    cache.unlink()
    cache.mkdir()
    refused("cache: cannot keep scores here")
    cache.rmdir()
    cache.symlink_to("cache")
    refused("cache: cannot keep scores here")
    cache.unlink()
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "cache"
    refused("cannot keep scores here")


def test_a_damaged_cache_ends_in_one_line(log: Log, tmp_path: Path) -> None:
    paths = shots(tmp_path / "p", [1])
    cache = tmp_path / "cache"
    for text in ("", "no JSON", "[]", "3", "{}", GOOD, '{"faces": 1, "level": "high"}'):
        cache.unlink(missing_ok=True)
        run(paths, cache)
        with sqlite3.connect(cache) as db:
            db.execute("update scores set data = ?", (text,))
        with pytest.raises(InputError, match="cache: holds a damaged score; delete the file"):
            run(paths, cache)
    cache.unlink()
    run(shots(tmp_path / "p", list(range(100))), cache)
    data = bytearray(cache.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    cache.write_bytes(data)
    with pytest.raises(InputError, match="cache: cannot keep scores here"):
        run(paths, cache)


def test_a_cache_that_cannot_be_written_ends_in_one_line(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(shots(tmp_path / "p", [1]), tmp_path / "cache")
    paths = shots(tmp_path / "q", [2])
    connect = sqlite3.connect
    read_only = f"file:{tmp_path / 'cache'}?mode=ro"
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(read_only, uri=True))
    with pytest.raises(InputError, match="cannot keep scores here .*readonly database"):
        run(paths, tmp_path / "cache")


def test_two_runs_at_a_time_share_a_cache(tmp_path: Path) -> None:
    with ScoreCache(tmp_path / "cache") as one, ScoreCache(tmp_path / "cache") as other:
        one.put("sha", {("aus", "key"): "1"})
        other.put("sha", {("aus", "key"): "2"})
        assert one.has("aus", "key", "sha") and not one.has("aus", "other", "sha")


def test_identity_and_action_units_are_kept_apart(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = IdentityModel(home=tmp_path_factory.mktemp("home"))
    paths = [FACES / "id00020_0.webp", FACES / "id00020_2.webp"]
    alone, told = run(paths, tmp_path / "cache", 0, Judges(None, "rendered"))
    assert told[-1] == (2, 2)
    assert all(s.embedding is None and s.reading is not None for s in alone.values())
    both, told = run(paths, tmp_path / "cache", 2, Judges(model, "rendered"))
    assert told[-1] == (2, 2)
    identity, told = run(paths, tmp_path / "cache", 0, Judges(model, "none"))
    assert told == [(0, 0)] and all(s.reading is None for s in identity.values())
    for path in paths:
        one, other = both[path], identity[path]
        assert one.embedding is not None and other.embedding is not None
        np.testing.assert_array_equal(one.embedding.vector, other.embedding.vector)
        kept_reading, reading = one.reading, alone[path].reading
        assert kept_reading is not None and reading is not None
        np.testing.assert_array_equal(kept_reading.level, reading.level)  # a float's every digit


def test_a_reader_without_a_key_is_not_kept(tmp_path: Path) -> None:
    paths = shots(tmp_path / "p", [1, 2])
    (tmp_path / "0.csv").write_text("AU12_r\n3.5\n")
    paths[1].write_bytes(b"no picture")
    reader: Reader | None = make_reader(f"openface-csv:{tmp_path}")
    judges = Judges(None, f"openface-csv:{tmp_path}")
    found = score(paths, judges, reader, tmp_path / "cache", workers=2)
    assert level(found[paths[0]]) == 3.5
    assert "1.png: not a readable picture" in found[paths[1]].problem
    (tmp_path / "0.csv").write_text("AU12_r\n1.5\n")
    found = score(paths, judges, reader, tmp_path / "cache", workers=2)
    assert level(found[paths[0]]) == 1.5
    (tmp_path / "other").mkdir()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "other" / "0.png")
    with pytest.raises(InputError, match=r"0.csv: two different pictures have this name"):
        score([*paths, tmp_path / "other" / "0.png"], judges, reader, tmp_path / "c", workers=0)


def test_nothing_to_score_is_fine(tmp_path: Path) -> None:
    assert run([], tmp_path / "cache", 2, Judges(None, "rendered")) == ({}, [(0, 0)])
