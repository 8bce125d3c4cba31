"""The verbs that write, each with inputs so small that a run takes seconds."""

import functools
import os
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import transfer
from bench.robustness.damage import Files
from bench.robustness.kind import read_back, write

ROOT = Path(__file__).parents[2]
DEMO = Path(transfer.__file__).parent / "demo"
MODEL = ["--model", "model"]
AGAIN = ["--overwrite"]  # of verbs that do not replace what an interrupted run left


class Verb(NamedTuple):
    """A command that writes.

    Attributes:
        name: in the table.
        words: of its command line, in the folder of inputs; outputs go to `out`.
        damage: an input that is changed or deleted meanwhile.
        missing: why it cannot be run here; empty if it can.
        few: only the faults of this list are tried, since a run takes long.
    """

    name: str
    words: list[str]
    damage: str
    missing: str = ""
    few: tuple[str, ...] = ()


FEW = ("kill -9", "SIGTERM", "SIGINT", "SIGSTOP, SIGCONT")


def verbs() -> list[Verb]:
    """The rows of the matrix."""
    moved = ["transfer", "--expression", "shots", "--source", "ann", "--target", "bob"]
    moved += ["--alpha", "0.5", "1", *MODEL, "-o", "out/o"]
    train = "train --data folder:ann --held-out folder:bob --debug --levels 1 --depth 1 --width 4"
    train += " --steps 4 --every 2 --evaluate 2 --pictures 0 --batch-size 2 --init-images 2"
    facekit = os.environ.get("GLOW_JAX_FACEKIT", "")
    no_facekit = "" if facekit else "no FaceKit here (GLOW_JAX_FACEKIT)"
    batch = ["batch", "job.csv", *MODEL, "--no-likelihood", "-o", "out/o"]
    render = "render --people 0:1 --pictures 1 --workers 1 -o out/o"
    generate = "generate --people 0:1 --sizes 64 --workers 1 -o out/o"
    installed = all(map(find_spec, ("openvino", "mediapipe", "random_face")))
    no_photoreal = "" if installed else "the extra `photoreal` is not installed here"
    judge = ["eval", "study", "--identity", "none", "--workers", "1", "--cache", "out/cache"]
    sample = ["sample", *MODEL, *AGAIN]
    return [
        Verb("encode", ["encode", "ann", *MODEL, *AGAIN, "-o", "out/o.npz"], "ann/0.png"),
        Verb("decode", ["decode", "a.npz", *MODEL, *AGAIN, "-o", "out/o"], "a.npz"),
        Verb("sample", [*sample, "-n", "4", "-o", "out/o.png"], "model/config.json"),
        Verb("convert", ["convert", "a.pt", "-o", "out/o"], "a.pt"),
        Verb("train", [*train.split(), "--no-tensorboard", "-o", "out/o"], "ann/0.png"),
        Verb("transfer", moved, "bob/1.png"),
        Verb("batch", [*batch, "--chunk-size", "3"], "bob/1.png"),
        Verb("batch, shards", [*batch, "--format", "webdataset", "--shard-size", "3"], "bob/1.png"),
        Verb("merge", ["merge", "one", "two", "-o", "out/o"], "two/rows/0000001.csv"),
        Verb("align", ["align", "heads", "-o", "out/o"], "heads/29_1.webp"),
        Verb("eval", [*judge, "-o", "out/o"], "study/1.png"),
        Verb("report", ["eval", "published", "--published", "-o", "out/o"], "published/source.txt"),
        Verb("demo", ["demo", "--no-judge", "-o", "out/o"], "", few=FEW),
        Verb("render", render.split(), "", missing=no_facekit, few=FEW),
        Verb("generate", generate.split(), "", missing=no_photoreal, few=FEW),
    ]


def make_inputs(folder: Path, run: Callable[[list[str]], int]) -> None:
    """Fill a folder with what the verbs read; `run` runs a command in it."""
    from bench.robustness.files.pytorch_files import tensors, write_zip, y0ast_state
    from bench.robustness.kinds.commands import base
    from bench.robustness.kinds.tables import published

    files = {n: d for n, d in base().items() if n != "job.csv"}
    rows = [f"shots/{i}.png,ann,{t},{a}" for i in (0, 1) for t in ("ann", "bob") for a in (0.5, 1)]
    table = "\n".join(["expression,source,target,alpha", *rows]) + "\n"
    write(folder, files | {"job.csv": table.encode()} | _study())
    write(folder / "published", published())
    write_zip(folder / "a.pt", tensors(y0ast_state()))
    heads = ROOT / "tests" / "heads"
    (folder / "heads").mkdir()
    for name in ("29_0.webp", "29_1.webp"):
        shutil.copy(heads / name, folder / "heads" / name)
    for i, name in enumerate(("one", "two"), 1):
        words = ["batch", "job.csv", *MODEL, "--no-likelihood", "--chunk-size", "3"]
        if run([*words, "--shard", f"{i}/2", "-o", name]):
            raise RuntimeError("a shard to merge could not be made")


def _study() -> Files:
    """Pictures of two demo people as another method's outputs."""
    people = sorted((DEMO / "people").iterdir())[:2]
    found: Files = {}
    for i, person in enumerate(people):
        found[f"study/{i}.png"] = sorted(person.glob("*.png"))[0].read_bytes()
    results = "expression,source,target,alpha,file\n0.png,a,b,1,1.png\n"
    people_csv = "person,file\na,0.png\nb,1.png\n"
    return found | {
        "study/results.csv": results.encode(),
        "study/people.csv": people_csv.encode(),
    }


# -- what counts of an output

IGNORED = ("results.parquet", "index.html", "scores.sqlite")  # hold how long things took, or when
IGNORED_FOLDERS = ("checkpoints", "cache", "weights", "assets")


def outputs(out: Path) -> Mapping[str, bytes]:
    """Every file of a folder, without times and the folder's place; models by their weights."""
    found = {}
    place = os.fsencode(out.parent.absolute())
    for name, data in read_back(out).items():
        parts = Path(name).parts
        if parts[-1].startswith(".") or parts[-1] in IGNORED or set(parts) & {*IGNORED_FOLDERS}:
            continue
        if parts[-1].endswith(".csv"):
            data = _without(data, ("seconds", "images_per_second"))
        if parts[-1] in ("files.json", "figures.json"):
            continue
        found[name] = data.replace(place, b"")
    for model in out.rglob("config.json"):
        found[f"{model.parent.relative_to(out)}/weights"] = _weights(model.parent)
    return found


def _without(data: bytes, columns: tuple[str, ...]) -> bytes:
    import csv
    import io

    rows = list(csv.reader(io.StringIO(data.decode(errors="surrogateescape"))))
    if not rows:
        return data
    kept = [i for i, name in enumerate(rows[0]) if name not in columns]
    return repr([[row[i] for i in kept if i < len(row)] for row in rows]).encode()


def _weights(folder: Path) -> bytes:
    import glow_jax as gj

    return gj.load(folder, fold=False).fingerprint.encode()


@functools.cache
def find(name: str) -> Verb:
    """The verb of a name."""
    return next(verb for verb in verbs() if verb.name == name)
