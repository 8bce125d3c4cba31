"""Fetch weights from the Hugging Face hub: `hf:OWNER/NAME` or `hf:OWNER/NAME/FILE`."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint, one_line, reason

WEIGHTS = (
    *(".pt", ".pth", ".pkg", ".pkl", ".ckpt", ".bin", ".safetensors", ".pb", ".index"),
    *(".tar", ".tgz", ".gz", ".zip"),
)
INDEX = ".index.json"  # suffix of the index of a checkpoint in several files
BESIDE = ("configs.json", "train.txt", "checkpoint", "README.md")


def fetch(name: str) -> tuple[Path, Path]:
    """Download one checkpoint and the small files beside it, or find them in the local cache.

    Args:
        name: `hf:OWNER/NAME`, or `hf:OWNER/NAME/FILE` if the repository has several checkpoints.

    Returns:
        The local paths of the weights' file and of the repository's folder.

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
        from huggingface_hub import constants
        from huggingface_hub.utils import logging
    except ImportError:
        raise InputError(
            f"{name}: huggingface_hub is not installed: {install_hint('convert')}"
        ) from None
    logging.set_verbosity_error()  # it would log retries before our message
    try:
        if constants.HF_HUB_OFFLINE:
            folder = _cached(hub.scan_cache_dir(), repository)
            files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
            return folder / _chosen(files, wanted, name), folder
        chosen = _chosen(hub.HfApi().list_repo_files(repository), wanted, name)
        beside = PurePosixPath(chosen).parent
        patterns = [chosen, *BESIDE, *(str(beside / other) for other in BESIDE)]
        if chosen.endswith(".index"):
            patterns.append(chosen.removesuffix("index") + "data-*")
        if chosen.endswith(INDEX):
            stem, suffix = PurePosixPath(chosen.removesuffix(INDEX)).stem, beside / "*"
            patterns.append(f"{suffix.with_name(stem)}-*-of-*")
        folder = Path(hub.snapshot_download(repository, allow_patterns=patterns))
        return folder / chosen, folder
    except InputError:
        raise
    except Exception as error:  # the client raises its own errors, those of requests, and OSError
        raise InputError(f"{name}: cannot be fetched ({reason(error)})") from None


def _cached(cache: Any, repository: str) -> Path:
    """The newest snapshot of a repository in the hub's cache."""
    found = [repo for repo in cache.repos if repo.repo_id == repository]
    revisions = [revision for repo in found for revision in repo.revisions]
    if not revisions:
        raise InputError(f"hf:{repository}: not in the hub's cache, and HF_HUB_OFFLINE is set")
    return Path(max(revisions, key=lambda revision: revision.last_modified).snapshot_path)


def _chosen(files: list[str], wanted: str | None, name: str) -> str:
    """The one file that holds weights."""
    if wanted:
        if wanted not in files:
            raise InputError(f"{one_line(name)}: no such file in the repository")
        return wanted
    indexes = sorted(f for f in files if f.endswith(INDEX))
    candidates = indexes or sorted(f for f in files if f.endswith(WEIGHTS))
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
    with open(readme, encoding="utf-8", errors="replace") as file:
        text = file.read(20_000)
    found = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    licence = re.search(r"^license:\s*(\S.*)$", found[1], re.MULTILINE) if found else None
    return licence[1].strip() if licence else None
