"""Jobs in YAML and TOML that are made to cost much, or to be read as something else."""

import itertools
import time
from pathlib import Path

import pytest

from glow_jax.io.errors import InputError
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from tests.support.linear import picture
from transfer.jobs import plan_paths
from transfer.jobs.plan import Plan
from transfer.jobs.plan_file import read_plan

JOB = "sources:\n- {person: ann, expressions: [ann]}\ntargets: [29]\nalphas: [0.5, 1]\n"
NAMES = "abcdefghij"
BOMB = f"a: &a [{','.join('x' * 10)}]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise(NAMES)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 10)}]}}\n" for a, b in itertools.pairwise(NAMES)
)
TOML = 'alphas = [0.5]\ntargets = ["29"]\n[[sources]]\nperson = "ann"\nexpressions = ["ann"]\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for seed, name in enumerate(("ann", "29")):
        (tmp_path / name).mkdir()
        made_up = Provenance("trainedAlgorithmicMedia", "test", {})
        write_image(tmp_path / name / "0.png", picture(seed), made_up)
    return tmp_path


def plan(home: Path, text: str, name: str = "job.yaml") -> Plan:
    (home / name).write_text(text, encoding="utf-8")
    return read_plan(home / name)


def test_a_text_is_what_stands_there(home: Path) -> None:
    for text, name in ((JOB, "job.yaml"), ("\ufeff" + JOB, "bom.yaml"), (TOML, "job.toml")):
        made = plan(home, text, name)
        assert sorted(made.names) == ["29", "ann"]
    with pytest.raises(InputError, match="alpha '1_0'"):  # 10 to YAML, which a scalar's text is not
        plan(home, JOB.replace("0.5", "1_0"))


REFUSED = {
    "a number as key": ("1: 2\n" + JOB, "unknown name '1'"),
    "nothing as key": ("~: 2\n" + JOB, "unknown name '~'"),
    "a list as key": ("? [a]\n: 2\n" + JOB, "line 1: a key is a list"),
    "a key twice": (JOB + JOB, "line 5: sources occurs twice"),
    "an empty integer": (JOB + "method: !!int ''\n", "line 5: method "),
    "a bad time": (JOB + "method: !!timestamp x\n", "method 'x'"),
    "a call": (JOB + "method: !!python/object/apply:os.system [ls]\n", "method "),
    "aliases": (BOMB + JOB, "takes more than 100000 steps"),
    "merges": (MERGES + JOB, "takes more than 100000 steps"),
    "itself": ("sources: &a [*a]\ntargets: [29]\nalphas: [1]\n", "takes more|nested|recursive"),
    "deep": ("alphas: " + "[" * 100_000, "nest"),
    "digits": (JOB.replace("0.5", "9" * 5000), "alpha '999"),
    "infinite": (JOB.replace("0.5", ".inf"), "alpha '.inf'"),
    "an object": (JOB.replace("[0.5, 1]", "{a: 1}"), "alphas must be a list"),
    "long": (" " * 2**22 + JOB, "too long"),
    "control": (JOB + "\x01", "control characters"),
}
REFUSED_TOML = {
    "dots": (".".join("a" * 200_000) + " = 1", "line 1 has more than 1000 dots"),
    "quoted dots": (".".join(['"a"'] * 200_000) + " = 1", "line 1 has more than 1000 dots"),
    "deep": ("alphas = " + "[" * 100_000, "recursion"),
    "a date": (TOML.replace("0.5", "2020-01-01"), "alphas must be numbers or texts, not date"),
    "digits": (TOML.replace("0.5", "9" * 5000), "not TOML"),
}


@pytest.mark.parametrize("name", [*REFUSED, *(f"toml {name}" for name in REFUSED_TOML)])
def test_what_is_hostile_ends_in_one_line_and_soon(name: str, home: Path) -> None:
    text, words = REFUSED_TOML[name[5:]] if name[:5] == "toml " else REFUSED[name]
    start = time.process_time()
    with pytest.raises(InputError, match=words) as error:
        plan(home, text, "job.toml" if name[:5] == "toml " else "job.yaml")
    assert time.process_time() - start < 10
    assert str(error.value).isprintable()


def test_many_paths_in_a_line_of_toml_are_no_key(home: Path) -> None:
    paths = ", ".join(['"ann/0.png"', "'ann/0.png'"] * 1500)
    assert len(plan(home, TOML.replace('["ann"]', f"[{paths}]"), "job.toml").alpha) == 1


@pytest.mark.parametrize("pattern", ["**/*", "*/*/*"])
def test_a_search_is_bounded(pattern: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(30):
        (home / "many" / str(n) / "inner").mkdir(parents=True)
    assert len(plan(home, JOB.replace("[ann]", "['*/*.png']")).alpha) == 4
    monkeypatch.setattr(plan_paths, "MAX_FOLDERS", 20)
    with pytest.raises(InputError, match="searches too many folders .stopped after 21 folders"):
        plan(home, JOB.replace("[29]", f"['{pattern}']"))
