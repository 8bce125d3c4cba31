"""Tables and job files: jobs, scores, published results, OpenFace's files."""

import itertools
import struct
from pathlib import Path

import numpy as np

from bench.robustness.damage import Files
from bench.robustness.kind import Kind
from bench.robustness.kinds.pictures import COLOUR, saved
from eval.openface import FEATURES, OpenFaceModels
from eval.openface_tool import read_openface_csv
from eval.pdm import MODES, POINTS
from eval.published import read_published_folder, read_scores
from eval.study import read_study
from eval.table import AUS, COLUMNS
from transfer.jobs.plan_file import read_plan

PICTURE = saved("PNG", COLOUR)
PEOPLE: Files = {
    f"{name}/{n}.png": PICTURE for name, n in itertools.product(("ann", "bob", "shots"), range(2))
}

JOB_CSV = b"""expression,source,target,alpha,method,id
shots/0.png,ann,bob,0.5,warp,first
shots,ann,bob/*.png,auto,,
shots/1.png,ann,ann,-0.25,paper,third
"""
JOB_TOML = b"""alphas = [0.5, 1.0, "auto", "0.3:0.5:0.1"]
targets = ["bob", "a*"]
method = "warp"
[[sources]]
person = "ann"
expressions = ["shots", "shots/1.png"]
"""
JOB_YAML = b"""alphas: [0.5, 1.0, auto, "0.3:0.5:0.1"]
targets:
  - bob
  - 'a*'
method: warp
sources:
  - person: ann
    expressions: [shots, shots/1.png]
"""


def _read_job(folder: Path) -> None:
    names = sorted(p.name for p in folder.glob("job.*"))
    read_plan(folder / (names[0] if names else "job.csv"))


def _job(name: str, data: bytes, *more: bytes) -> list[Files]:
    return [PEOPLE | {name: each} for each in (data, *more)]


def _hostile_csv() -> list[Files]:
    head = b"expression,source,target,alpha\n"
    row = b"shots/0.png,ann,bob,%s\n"
    texts = [
        b"",
        b"\n",
        head,
        head + row % b"1e400",
        head + row % b"nan",
        head + row % b"0:1:1e-300",
        head + row % b"1" * 20_000,
        head + b'"' + b"a" * 200_000,
        head + b"/dev/zero,ann,bob,1\n",
        head + b"shots/0.png,/**/*,bob,1\n",
        head + b"shots/0.png,../**/../**/..,bob,1\n",
        head + b"\0,ann,bob,1\n",
        head + b"a" * 5000 + b",ann,bob,1\n",
        b"\xff\xfe" + (head + row % b"1").decode().encode("utf-16-le"),
        (head + row % b"1").replace(b",", b";"),
        (head + row % b"0,5").replace(b",", b"\t"),
        b"expression," * 100_000 + b"\n",
    ]
    return [PEOPLE | {"job.csv": text} for text in texts]


def _hostile_yaml() -> list[Files]:
    bomb = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (i + 1, i + 1, b",".join([b"*a%d" % i] * 9)) for i in range(30)
    )
    base = JOB_YAML.decode()
    texts = [
        bomb,
        bomb + b"alphas: *a30\ntargets: *a30\nsources: *a30\n",
        b"alphas: !!int ''\n",
        b"? [a]\n: 1\n",
        b"1: 2\nnull: 3\n",
        b"alphas: &a [*a]\ntargets: *a\nsources: *a\n",
        base.replace("0.5", "2024-01-01").encode(),
        base.replace("shots,", "'/**/*',").encode(),
        base.replace("bob", "!!binary AAAA").encode(),
        base.replace("bob", "!!python/object/apply:os.system [id]").encode(),
        base.replace("method: warp", "method: [warp]").encode(),
        base.replace("method: warp", "method: {a: b}").encode(),
        base.replace("[0.5", "[0:1:0.0000000000001, 0.5").encode(),
        b"- " * 20_000,
        b"[" * 20_000,
        b"a: " + b"9" * 10_000,
        b"<<: [1]\n",
        b"&a : *a\n",
        b"--- a\n--- b\n",
        b"\xff\xfe\0",
    ]
    return [PEOPLE | {"job.yaml": text} for text in texts]


# -- scores and studies


def _scores_csv() -> bytes:
    rows = [",".join(COLUMNS)]
    for i in range(4):
        cells = [f"{i}", "smile.png", "eve", "ann", f"{0.25 * i}", f"{i}.png", "1"]
        cells += ["0.5", "0.7", "0.4", "1"] + ["1.5"] * (len(COLUMNS) - len(cells) - 4 - len(AUS))
        rows.append(",".join([*cells, *["1"] * len(AUS)]))
    return "\n".join(rows).encode() + b"\n"


def published() -> Files:
    header = "[filename, " + ", ".join(f"{au}_r" for au in AUS) + "]"

    def line(name: str) -> str:
        return f"['{name}', " + ", ".join("' 0.50'" for _ in AUS) + "]"

    distances = "ID ,0.3, 0.32,  dist source,dist_target\n"
    for person, side in itertools.product(("ann", "bob"), ("source", "target")):
        distances += f"{person}_{side},1.1,1.2,0,1.3\n"
    names = [f"{p}_{a}.csv" for p in ("ann", "bob", "sue") for a in ("0.3", "0.32", "mean")]
    files: dict[str, str] = {"source.txt": "sue\n"}
    for expression in ("smile", "frown"):
        files[f"distances/{expression}.csv"] = distances
        files[f"aus/{expression}.txt"] = "\n".join([header, *map(line, names)])
    files["references.txt"] = "\n".join([header, line("frown.csv"), line("smile.csv")])
    return {name: text.encode() for name, text in files.items()}


def _authors() -> Files:
    ours = published()
    files = {}
    for k, expression in enumerate(("smile", "frown"), 1):
        files[f"likeliness/expression{k}.csv"] = ours[f"distances/{expression}.csv"]
        files[f"quality/AUs_expression{k}.csv"] = ours[f"aus/{expression}.txt"]
    references = ours["references.txt"].replace(b"frown.csv", b"sue_expression1_aligned.csv")
    references = references.replace(b"smile.csv", b"sue_expression2_aligned.csv")
    return files | {"quality/AUs_reference.csv": references}


def _study() -> Files:
    results = "id,expression,source,target,alpha,file,method\n"
    for i, target in enumerate(("bob", "cid")):
        results += f"{i},shots/0.png,ann,{target},0.5,images/{i}.png,warp\n"
    people = "person,file\n" + "".join(f"{p},{p}/0.png\n" for p in ("ann", "bob", "cid"))
    job = (
        b'{"model": {"name": "m"}, "precision": "exact", "method": "warp", "versions": {"a": "1"}}'
    )
    return {"results.csv": results.encode(), "people.csv": people.encode(), "job.json": job}


def _read_study(folder: Path) -> None:
    read_study(folder)


def _read_scores(folder: Path) -> None:
    read_scores(folder / "scores.csv")


# -- OpenFace


def _openface_csv() -> Files:
    header = "frame, face_id, success, confidence, " + ", ".join(
        [*(f"{au}_r" for au in AUS), *(f"{au}_c" for au in AUS)]
    )
    row = "1, 0, 1, 0.98, " + ", ".join(["1.5"] * len(AUS) + ["1"] * len(AUS))
    return {"a.csv": f"{header}\n{row}\n{row}\n".encode()}


def _read_openface(folder: Path) -> None:
    read_openface_csv(folder / "a.csv", "a.png")


def _openface_models() -> list[Files]:
    """A folder of noise in OpenFace's layout."""
    rng = np.random.default_rng(0)
    sizes = ((3 * POINTS, 1), (3 * POINTS, MODES), (1, MODES))
    text = "".join(
        f"# A matrix\n{rows}\n{columns}\n6\n"
        + " ".join(f"{v:.6g}" for v in np.abs(rng.normal(1, 0.1, rows * columns)))
        + "\n"
        for rows, columns in sizes
    )
    matrix = rng.normal(0, 0.1, FEATURES).astype("<f8").tobytes()
    linear = struct.pack("<i", 2)
    for shape in ((1, FEATURES), (FEATURES, 1)):
        linear += struct.pack("<iii", *shape, 6) + matrix
    triangles = "2\n3\n4\n0 1 2\n3 4 5\n"
    files = {
        "In-the-wild_aligned_PDM_68.txt": text.encode(),
        "tris_68_full.txt": triangles.encode(),
        "AU_all_static.txt": "".join(f"a.dat {au}\n" for au in AUS).encode(),
        "a.dat": linear + struct.pack("<d", 1.5),
    }
    return [files]


KINDS = (
    Kind("jobs, CSV", 500, lambda: _job("job.csv", JOB_CSV), _read_job, _hostile_csv),
    Kind("jobs, TOML", 300, lambda: _job("job.toml", JOB_TOML), _read_job),
    Kind("jobs, YAML", 500, lambda: _job("job.yaml", JOB_YAML), _read_job, _hostile_yaml),
    Kind("scores.csv", 300, lambda: [{"scores.csv": _scores_csv()}], _read_scores),
    Kind("published results", 400, lambda: [published(), _authors()], read_published_folder),
    Kind("outputs to judge (results, people, job)", 400, lambda: [_study()], _read_study),
    Kind("OpenFace's CSV", 200, lambda: [_openface_csv()], _read_openface),
    Kind("OpenFace's model folders", 200, _openface_models, lambda f: OpenFaceModels(f)),
)
