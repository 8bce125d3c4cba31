"""The scripts of `completion`: what bash proposes for words that are begun."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from glow_jax.cli.main import VERBS, main
from tests.support.command_line import fails

TRY = """
source SCRIPT
complete=$(complete -p glow-jax | sed -E 's/.*-F ([^ ]+).*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
$complete
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    pytest.importorskip("shtab")
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    with pytest.MonkeyPatch.context() as patched:
        written: list[str] = []
        patched.setattr("builtins.print", lambda text, **_: written.append(text))
        assert main(["completion", "bash"]) == 0
    path = tmp_path_factory.mktemp("completion") / "glow-jax.bash"
    path.write_text(written[0])
    return path


def proposed(script: Path, folder: Path, *words: str) -> set[str]:
    code = TRY.replace("SCRIPT", str(script))
    run = subprocess.run(
        ["bash", "-c", code, "bash", "glow-jax", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    )
    return set(run.stdout.split())


def test_bash_completes_verbs_options_choices_and_paths(bash: Path, tmp_path: Path) -> None:
    (tmp_path / "job.csv").touch()
    (tmp_path / "folder").mkdir()
    assert proposed(bash, tmp_path, "") >= set(VERBS)
    assert proposed(bash, tmp_path, "tra") == {"train", "transfer"}
    assert proposed(bash, tmp_path, "transfer", "--met") == {"--method"}
    assert proposed(bash, tmp_path, "transfer", "--method", "") == {"warp", "paper", "glow"}
    assert proposed(bash, tmp_path, "batch", "jo") == {"job.csv"}
    assert proposed(bash, tmp_path, "decode", "--out", "fo") == {"folder"}
    assert proposed(bash, tmp_path, "decode", "--out", "jo") == set()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_know_every_verb(shell: str, capsys) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS) and "paste-back" in script


def test_a_shell_that_is_not_served_and_a_missing_package_are_named(
    capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "invalid choice: 'csh'" in fails(capsys, ["completion", "csh"])
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "shtab" else found(name, *a)
    )
    said = fails(capsys, ["completion", "bash"])
    assert "shtab is not installed: install the extra `completion`" in said
