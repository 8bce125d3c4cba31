"""† Weights on the Hugging Face hub: `hf:OWNER/NAME` or `hf:OWNER/NAME/FILE`."""

import re
from pathlib import Path, PurePosixPath

from glow_jax.errors import InputError
from glow_jax.files import one_line, reason

WEIGHTS = (".pt", ".pth", ".pkg", ".tar", ".ckpt", ".bin", ".safetensors", ".pb", ".index")
BESIDE = ("configs.json", "train.txt", "checkpoint", "README.md")


def fetch(name: str) -> Path:
    """Download one checkpoint and the small files beside it, or find them in the hub's cache.

    Args:
        name: `hf:OWNER/NAME`, or with `/FILE` where the repository holds several.

    Returns:
        The local path of the weights' file.

    Raises:
        InputError: the name is malformed, the hub is not reached, or the file is not clear.
    """
    found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?:/(.+))?", name)
    if not found:
        raise InputError(f"{one_line(name)}: use hf:OWNER/NAME or hf:OWNER/NAME/FILE")
    repository, wanted = found[1], found[2]
    if wanted and ".." in PurePosixPath(wanted).parts:
        raise InputError(f"{one_line(name)}: a file outside the repository")
    try:
        import huggingface_hub as hub
    except ImportError:
        raise InputError(
            f"{name}: needs huggingface_hub; pip install 'glow-jax[convert]'"
        ) from None
    try:
        offline = hub.constants.HF_HUB_OFFLINE
        if offline:
            folder = Path(hub.snapshot_download(repository, local_files_only=True))
            files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
            return folder / _chosen(files, wanted, name)
        chosen = _chosen(hub.HfApi().list_repo_files(repository), wanted, name)
        patterns = [chosen, *BESIDE]
        if chosen.endswith(".index"):
            patterns.append(chosen.removesuffix("index") + "data-*")
        return Path(hub.snapshot_download(repository, allow_patterns=patterns)) / chosen
    except InputError:
        raise
    except Exception as error:  # the hub's client raises its own, requests' and the system's
        raise InputError(f"{name}: cannot be fetched ({reason(error)})") from None


def _chosen(files: list[str], wanted: str | None, name: str) -> str:
    """The one file that holds weights."""
    if wanted:
        if wanted not in files:
            raise InputError(f"{one_line(name)}: no such file in the repository")
        return wanted
    candidates = sorted(f for f in files if f.endswith(WEIGHTS))
    if len(candidates) != 1:
        listed = ", ".join(one_line(f) for f in candidates[:8]) or "none"
        raise InputError(
            f"{one_line(name)}: {len(candidates)} files of weights ({listed}); name one, as in "
            f"{one_line(name)}/FILE"
        )
    return candidates[0]


def licence_of(folder: Path) -> str | None:
    """The `license:` field of a hub repository's README, if there is one beside the weights."""
    readme = folder / "README.md"
    if not readme.is_file():
        return None
    text = readme.read_text(encoding="utf-8", errors="replace")[:20_000]
    found = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    licence = re.search(r"^license:\s*(\S.*)$", found[1], re.MULTILINE) if found else None
    return licence[1].strip() if licence else None
