"""The table of verbs: what it shows, what it loads, and the contract of a verb's module."""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import glow_jax
from glow_jax.cli.main import VERBS, main
from glow_jax.cli.options import flags_of, with_flags
from tests.support.paths import ROOT

HEAVY = ("jax", "flax", "orbax", "scipy", "numpy", "rich", "PIL")


def loaded_by(code: str) -> set[str]:
    """Packages that a fresh interpreter has loaded after `code`."""
    code += "\nimport sys; print('loaded', *sorted({m.split('.')[0] for m in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


def test_importing_glow_jax_loads_nothing_heavy() -> None:
    loaded = loaded_by("import glow_jax; glow_jax.__version__; glow_jax.InputError")
    assert not loaded & set(HEAVY)
    assert "glow_jax" in loaded
    assert "jax" in loaded_by("import glow_jax; glow_jax.GlowConfig; glow_jax.load")


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_the_list_of_verbs_loads_nothing_heavy(words: list[str]) -> None:
    code = f"from glow_jax.cli.main import main\ntry: main({words})\nexcept SystemExit: pass"
    loaded = loaded_by(code)
    assert not loaded & {*HEAVY, "transfer", "eval"}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_help_of_a_verb_loads_no_jax(verb: str) -> None:
    code = f"from glow_jax.cli.main import main\ntry: main([{verb!r}, '--help'])"
    assert not loaded_by(f"{code}\nexcept SystemExit: pass") & {"jax", "flax", "orbax", "scipy"}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_sets_what_runs_it(verb: str) -> None:
    module, line = VERBS[verb]
    parser = argparse.ArgumentParser()
    importlib.import_module(module).add_options(parser)
    assert callable(parser.get_default("run"))
    assert line and not line.endswith(".")


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_option_has_a_help_text_beside_its_default(verb: str) -> None:
    parser = argparse.ArgumentParser()
    importlib.import_module(VERBS[verb][0]).add_options(parser)
    for action in parser._actions:
        assert (action.help or "").partition("(default")[0].strip(), action.option_strings


@pytest.mark.parametrize(
    "words",
    [
        "encode {there} -o {there}/z.npz",
        "encode nowhere.png -o z.npz",
        "encode {picture} -o nowhere/z.npz",
        "decode nowhere.npz -o out",
        "sample -o nowhere/sheet.png",
        "info faces64 --calibrate nowhere",
        "train --data folder:nowhere --steps 1 --init faces64 -o run",
        "train --data folder:{there} --held-out folder:nowhere --steps 1 --init faces64 -o run",
        "train --data folder:{there} --steps 1 --init nowhere -o run",
        "convert nowhere -o out",
        "fit-expressions nowhere",
    ],
)
def test_a_missing_path_is_reported_before_a_model_is_loaded(
    words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("glow_jax.checkpoints.read_weights", refuse)
    monkeypatch.chdir(tmp_path)
    picture = ROOT / "transfer" / "demo" / "expressions" / "smile.png"
    assert main(words.format(there=tmp_path, picture=picture).split()) == 2
    assert "error: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"glow-jax {glow_jax.__version__}\n"


def test_without_a_verb_all_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    shown = capsys.readouterr().err
    assert all(f"    {verb}" in shown for verb in VERBS)


def test_a_name_that_is_missing_is_said() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        glow_jax.nothing  # noqa: B018
    assert set(glow_jax.__all__) <= set(dir(glow_jax))
    for name in glow_jax.__all__:
        assert getattr(glow_jax, name) is not None


def test_a_parameter_in_a_message_becomes_its_flag() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-b", "--batch-size")
    negatable = argparse.BooleanOptionalAction
    parser.add_argument("--align", dest="photographs", action=negatable)
    parser.add_argument("job")
    flags = flags_of(parser)
    message = "`batch_size` needs `photographs`, `job` and `glow-jax info`; `unknown` stays"
    said = "--batch-size needs --align, `job` and `glow-jax info`; `unknown` stays"
    assert with_flags(message, flags) == said


# Those that run no model of JAX's.
NO_JAX = {"merge", "eval", "render", "facekit", "generate", "completion", "export"}


@pytest.mark.parametrize("verb", sorted(set(VERBS) - NO_JAX))
def test_every_verb_that_compiles_can_keep_programs_or_not(verb: str) -> None:
    module = importlib.import_module(VERBS[verb][0])
    parser = argparse.ArgumentParser()
    module.add_options(parser)
    (option,) = [action for action in parser._actions if action.dest == "compile_cache"]
    assert option.default is True
    assert option.option_strings == ["--compile-cache", "--no-compile-cache"]
    source = Path(module.__file__ or "").read_text(encoding="utf-8")
    assert "start_jax(args.compile_cache)" in source or "compile_cache=args.compile_cache" in source
