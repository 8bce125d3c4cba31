"""A missing optional package: one line that says how to install it, before any work."""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from glow_jax.cli.main import main
from tests.support.paths import ROOT

# Runs every case in one process, whose imports of the hidden package fail.
HIDE = """
import contextlib, io, json, sys
from unittest import mock

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def loaded(*_, **__):
    raise AssertionError("a model was loaded")

hidden = ""
sys.meta_path.insert(0, Hidden())
from glow_jax.cli.main import main
for hidden, words in json.loads(sys.argv[1]):
    for name in [n for n in sys.modules if n.partition(".")[0] == hidden]:
        del sys.modules[name]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), mock.patch("glow_jax.checkpoints.load", loaded):
        code = main(words)
    print(json.dumps([code, said.getvalue()]))
"""
DEMO = str(ROOT / "transfer" / "demo")
PEOPLE = f"{DEMO}/people"
MOVE = ["--expression", f"{DEMO}/expressions", "--source", f"{PEOPLE}/person-41"]
TRANSFER = ["transfer", *MOVE, "--target", f"{PEOPLE}/person-16", "-o", "OUT"]
ALIGN = ["align", PEOPLE, "-o", "OUT"]
BATCH = ["batch", "JOB.csv", "-o", "OUT"]
TRAIN = ["train", "--steps", "1", "-o", "OUT", "--data"]

CASES = [
    ("dlib", "eval", ALIGN),
    ("face_recognition_models", "eval", [*ALIGN, "--size", "64", "--no-rank"]),
    ("cv2", "eval", ALIGN),
    ("deepface", "eval", [*ALIGN, "--detector", "retinaface"]),
    ("dlib", "eval", [*TRANSFER, "--align"]),
    ("dlib", "eval", [*TRANSFER, "--align", "--paste-back"]),
    ("cv2", "eval", [*TRANSFER, "--neutral", "1"]),
    ("dlib", "eval", [*TRANSFER, "--neutral", "1"]),
    ("dlib", "eval", [*BATCH, "--align"]),
    ("av", "video", ["animate", "--driving", PEOPLE, "--target", PEOPLE, "-o", "OUT.mp4"]),
    ("array_record", "data", [*BATCH, "--format", "array_record"]),
    ("ray", "ray", [*BATCH, "--engine", "ray"]),
    ("yaml", "pyyaml", ["batch", "JOB.yaml", "-o", "OUT"]),
    *((name, "eval", ["eval", "OUT"]) for name in ("pandas", "jinja2", "cv2", "dlib", "deepface")),
    ("face_recognition_models", "eval", ["eval", "OUT"]),
    ("pandas", "eval", ["eval", "OUT", "--published"]),
    ("mediapipe", "mediapipe", ["eval", PEOPLE, "--identity", "none", "--aus", "mediapipe"]),
    ("feat", "py-feat", ["eval", PEOPLE, "--identity", "none", "--aus", "py-feat"]),
    ("deepface", "eval", ["demo", "--judge", "-o", "OUT"]),
    ("dlib", "eval", ["demo", "--no-judge", "-o", "OUT"]),
    ("mitsuba", "render", ["render", "-o", "OUT"]),
    ("gradio", "ui", ["ui"]),
    ("openvino", "photoreal", ["generate", "-o", "OUT"]),
    ("huggingface_hub", "convert", ["convert", "hf:owner/name", "-o", "OUT"]),
    ("tensorflow_datasets", "train", [*TRAIN, "tfds:cifar10"]),
    ("tensorflow_datasets", "train", [*TRAIN, "synthetic_faces"]),
]


def test_each_is_named_before_the_work(tmp_path: Path) -> None:
    row = f"{DEMO}/expressions/smile.png,{PEOPLE}/person-41,{PEOPLE}/person-16,0.5\n"
    job, yaml = tmp_path / "job.csv", tmp_path / "job.yaml"
    job.write_text(f"expression,source,target,alpha\n{row}")
    yaml.write_text("alphas: [1]\n")
    names = {"OUT": str(tmp_path / "out"), "JOB.csv": str(job), "JOB.yaml": str(yaml)}
    cases = [(name, [names.get(word, word) for word in words]) for name, _, words in CASES]
    run = subprocess.run(
        [sys.executable, "-c", HIDE, json.dumps(cases)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    answers = map(json.loads, run.stdout.splitlines())
    for (name, extra, words), (code, said) in zip(CASES, answers, strict=True):
        assert code == 2 and said.count("\n") == 1, (name, words, said)
        wanted = f"pip install {extra}" if extra == "pyyaml" else f"pip install -e '.[{extra}]'"
        assert wanted in said and name.lower() in said.lower().replace("-", "_"), said
    assert not (tmp_path / "out").exists()


def test_the_demo_leaves_the_judging_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from glow_jax.io import packages
    from transfer.cli import demo, transfer

    def made(*_: object, **__: object) -> tuple[list[str], dict[str, object], int]:
        print("made", file=sys.stderr)
        return [], {}, 0

    judged: list[Path] = []
    monkeypatch.setattr(transfer, "make", made)
    monkeypatch.setattr(demo, "_judge", lambda out, *_: judged.append(out) or 1)
    out = str(tmp_path / "out")
    assert main(["demo", "--renders", "-o", out, "--no-judge"]) == 0 and not judged
    assert main(["demo", "--renders", "-o", out]) == 1 and len(judged) == 1
    monkeypatch.setattr(packages, "installed", lambda module: module != "jinja2")
    capsys.readouterr()
    assert main(["demo", "--renders", "-o", out]) == 0 and len(judged) == 1
    before, work, after = capsys.readouterr().err.splitlines()
    assert before.startswith("not judged: jinja2 is not installed: install the extra `eval`")
    assert (work, after) == ("made", before)


def test_the_demo_s_photographs_take_the_model_of_photographs() -> None:
    from glow_jax.cli.main import VERBS
    from transfer.cli import demo
    from transfer.requests import model_of

    parser = argparse.ArgumentParser()
    importlib.import_module(VERBS["demo"][0]).add_options(parser)
    args = parser.parse_args([])
    assert model_of(demo._of_photographs(args)) == "photo64"
    assert model_of(demo._of_renders(args)) == "faces64"
    args = parser.parse_args(["--model", "faces64"])
    assert model_of(demo._of_photographs(args)) == "faces64"
