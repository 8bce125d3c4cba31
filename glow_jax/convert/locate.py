"""Find the checkpoint at a path, and its kind, from the content of files and not from suffixes.

Archives and compressed files are opened. If a file is no checkpoint, the error names its kind.
"""

import bz2
import glob
import gzip
import io
import json
import lzma
import re
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from glow_jax.convert.blob import BlobFile, mapped
from glow_jax.convert.hub import INDEX, WEIGHTS
from glow_jax.convert.safetensors_file import is_safetensors
from glow_jax.convert.tf_checkpoint import checkpoint_prefix, is_table, missing_index
from glow_jax.convert.torch_file import MAX_PACKING, Unzip
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

MAX_WRAPPED = 4  # largest depth of archives in archives
MAX_MEMBERS = 10_000
MAX_TEXT_BYTES = 2**20
CHUNK_BYTES = 2**20
PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
LEGACY_TAR = ("storages", "tensors", "pickle")
_UNPACKERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
# First bytes of files that are often mistaken for a checkpoint, and the message for each.
_OTHERS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (Keras): no known implementation of Glow writes these",
    b"\x93NUMPY": "a single NumPy array, not a checkpoint",
    b"GGUF": "a GGUF file: no known implementation of Glow writes these",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it first (zstd -d)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"\x89PNG": "a PNG picture, not a checkpoint",
    b"\xff\xd8\xff": "a JPEG picture, not a checkpoint",
    b"%PDF": "a PDF document, not a checkpoint",
}
_HTML = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<!--((?!-->).)*-->\s*)*<(!doctype\s+html|html|head|body|\?xml)",
    re.IGNORECASE | re.DOTALL,
)
HTML = (
    "a web page (HTML), not a checkpoint: the download went to a page about the file (a log-in, a "
    "licence or a warning); download the file itself"
)
LFS = (
    "a Git LFS pointer, not the file: run `git lfs pull` in its repository, or download the file "
    "itself ({size} bytes)"
)


class Files(NamedTuple):
    """A checkpoint on disk.

    Attributes:
        kind: "torch", "torch tar", "safetensors", "sharded", "tensorflow" or "graph".
        main: path of the file, or TensorFlow's prefix.
        all: paths of all files of the checkpoint.
        data: bytes of the file, taken out of any archive; for "torch tar", bytes by member.
        stored: number of bytes on disk.
    """

    kind: str
    main: Path
    all: list[Path]
    data: Any = None

    @property
    def stored(self) -> int:
        return sum(path.stat().st_size for path in self.all)


def locate(path: Path, budget: Budget) -> Files:
    """Find the checkpoint at a path: a file, a prefix, or a folder that holds one checkpoint.

    Args:
        path: path from the user.
        budget: limit for data that has to be decompressed.

    Raises:
        InputError: there is no checkpoint, or several, or the file is of another kind.
    """
    prefix = checkpoint_prefix(path)
    if prefix is not None and not (path.is_file() and path.suffix == ".pb"):
        return _tensorflow(prefix)
    if path.is_dir():
        path = _in_folder(path)
    if not path.exists():
        raise InputError(missing_index(path) or "no such file")
    if not path.is_file():
        raise InputError("is neither a file nor a folder")
    data = mapped(path)
    if _starts(data, 256).lstrip().startswith((b"model_checkpoint_path:", b"all_model_checkpoint")):
        return _tensorflow(_named_by(path))
    if _is_index(data):
        return Files("sharded", path, [path], data)
    kind, inner = content(data, budget)
    if kind == "tensorflow table":
        raise InputError(
            "a TensorFlow index without its suffix, or a checkpoint of version 1 (before 2016): "
            "name it PREFIX.index beside PREFIX.data-*, or save it with tf.train.Saver's version 2"
        )
    if kind == "graph" and path.suffix == ".safetensors":
        kind = "safetensors"  # a damaged one
    return Files(kind, path, [path], inner)


def content(data: np.ndarray, budget: Budget, wrapped: int = 0) -> tuple[str, Any]:
    """The kind of a file and its bytes, taken out of compression and archives.

    Raises:
        InputError: the file is no checkpoint.
    """
    if wrapped > MAX_WRAPPED:
        raise InputError(f"archives in archives, more than {MAX_WRAPPED} deep")
    start = _starts(data, 2**12)
    for magic, opener in _UNPACKERS.items():
        if start.startswith(magic):
            return content(_unpacked(data, opener, budget), budget, wrapped + 1)
    if start[257:262] == b"ustar" or _is_old_tar(start):
        members = _tar_members(data, budget)
        if set(LEGACY_TAR) <= set(members):
            return "torch tar", members
        return content(_only(members, "tar"), budget, wrapped + 1)
    if start.startswith(b"PK\x03\x04"):
        member = _zipped(data, budget)
        return ("torch", data) if member is None else content(member, budget, wrapped + 1)
    refuse_others(start, len(data))
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "torch", data
    if start.startswith(b"PK"):
        raise InputError("truncated or damaged (an empty zip archive, or a part of one)")
    if is_safetensors(data):
        return "safetensors", data
    if is_table(data):
        return "tensorflow table", data
    return "graph", data


def refuse_others(start: bytes, size: int) -> None:
    """Raise InputError if the first bytes are those of a file that is no checkpoint."""
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        size_line = re.search(rb"^size (\d{1,18})$", start, re.MULTILINE)
        raise InputError(LFS.format(size=int(size_line[1]) if size_line else "?"))
    if start.startswith((b"/annex/objects/", b"../.git/annex/", b".git/annex/")):
        raise InputError("a git-annex pointer, not the file: run `git annex get` on it")
    if _HTML.match(start):
        raise InputError(HTML)
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise InputError(what)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"[") and b"\0" not in text:
        raise InputError("a JSON text, not a checkpoint")
    if not any(start[:512]):
        raise InputError("begins with zeros: is it an unfinished download?")


# -- folders and texts


def _in_folder(folder: Path) -> Path:
    """The one checkpoint of a folder."""
    if (folder / "weights").is_dir() and (folder / "config.json").is_file():
        raise InputError("is a glow-jax model already; load it as it is")
    files = sorted(p for p in folder.iterdir() if p.is_file())
    indexes = [p for p in files if p.name.endswith(INDEX)]
    found = indexes or [p for p in files if p.name.endswith(WEIGHTS)]
    if len(found) != 1:
        lost = next((text for p in files if (text := missing_index(p))), None)
        if lost and not found:
            raise InputError(lost)
        listed = ", ".join(one_line(p.name) for p in found[:8]) or "none"
        raise InputError(f"a folder with {len(found)} checkpoints ({listed}); name a file")
    return found[0]


def _tensorflow(prefix: Path) -> Files:
    shards = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*"))
    index = prefix.with_name(f"{prefix.name}.index")
    return Files("tensorflow", prefix, [p for p in (index, *shards) if p.is_file()])


def _named_by(path: Path) -> Path:
    """The prefix that a text file `checkpoint` names, in the folder of that file."""
    from glow_jax.convert.tf_checkpoint import newest

    prefix = newest(path)
    if prefix is None:
        raise InputError("a TensorFlow text file `checkpoint` that names no checkpoint")
    return prefix


def _is_index(data: np.ndarray) -> bool:
    """Whether data are the JSON index that names the shards of a checkpoint."""
    if len(data) > 2**24 or _starts(data, 64).lstrip()[:1] != b"{":
        return False
    return b'"weight_map"' in data.tobytes()


def _starts(data: np.ndarray, size: int) -> bytes:
    return data[:size].tobytes()


# -- archives


def _unpacked(data: np.ndarray, opener: Callable[[Any], Any], budget: Budget) -> np.ndarray:
    """Decompress bytes in memory."""
    out = io.BytesIO()
    try:
        with opener(BlobFile(data, budget)) as file:
            while chunk := file.read(CHUNK_BYTES):
                budget.allocate(len(chunk))
                out.write(chunk)
                if out.tell() > 2**24 + MAX_PACKING * len(data):
                    raise InputError("suspiciously well compressed")
    except InputError:
        raise
    except Exception as error:  # each of the three modules raises errors of its own
        raise InputError(f"truncated or damaged ({reason(error)})") from None
    if not out.tell():
        raise InputError("the compressed file is empty")
    return np.frombuffer(out.getbuffer(), np.uint8)


def _is_old_tar(start: bytes) -> bool:
    """Whether this is a tar archive from before POSIX, by the checksum of its first header."""
    try:
        tarfile.TarInfo.frombuf(start[:512], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _tar_members(data: np.ndarray, budget: Budget) -> dict[str, np.ndarray]:
    """The ordinary files of a tar archive, as views of its bytes."""
    found: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(
            fileobj=BlobFile(data, budget), mode="r:", tarinfo=_affordable(budget)
        ) as archive:
            for number, member in enumerate(archive):
                if number == MAX_MEMBERS:
                    raise InputError(f"a tar archive of more than {MAX_MEMBERS} members")
                end = member.offset_data + member.size
                if member.isreg() and not member.issparse():
                    if end > len(data):
                        raise InputError("truncated: a tar archive that was cut off")
                    found[member.name.removeprefix("./")] = data[member.offset_data : end]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"a tar archive that is truncated or damaged ({reason(error)})") from None
    return found


def _affordable(budget: Budget) -> type[tarfile.TarInfo]:
    """The class of a tar archive's members, which takes the time of extended headers into account.

    Python before 3.11.10 and 3.12.6 reads a header of n digits in n**2 steps (CVE-2024-6232).
    """

    class Affordable(tarfile.TarInfo):
        def _proc_member(self, archive: tarfile.TarFile) -> Any:
            if self.type in PAX_TYPES:
                budget.step(1 + (self.size * self.size >> 12))
            return super()._proc_member(archive)  # type: ignore[misc]

    return Affordable


def _zipped(data: np.ndarray, budget: Budget) -> np.ndarray | None:
    """The one file in a zip archive; None if the archive is PyTorch's own."""
    try:
        unzip = Unzip(data, budget)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"truncated or damaged ({reason(error)})") from None
    names = list(unzip.members)
    if any(PurePosixPath(name).name == "data.pkl" for name in names):
        return None
    if any(name.endswith("/models/model.json") for name in names):
        raise InputError(
            "a torch.export archive, which holds a program: torch.save the model's state_dict()"
        )
    if names and all(name.endswith(".npy") for name in names):
        raise InputError(
            "a NumPy .npz archive: save its arrays under the same names as safetensors"
        )
    kept = {name: name for name in names if not name.endswith("/") and not _is_litter(name)}
    try:
        return unzip(_only(kept, "zip"))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"truncated or damaged ({reason(error)})") from None


def _is_litter(name: str) -> bool:
    """Whether a member of an archive is metadata of macOS."""
    return name.startswith("__MACOSX/") or PurePosixPath(name).name in (".DS_Store", "Thumbs.db")


def _only(members: dict[str, Any], kind: str) -> Any:
    """The one checkpoint of an archive."""
    kept = {n: m for n, m in members.items() if not PurePosixPath(n).name.startswith("._")}
    weights = [n for n in kept if n.endswith(WEIGHTS)]
    names = weights or list(kept)
    if len(names) != 1:
        listed = ", ".join(one_line(n)[:80] for n in names[:6]) or "none"
        raise InputError(
            f"a {kind} archive, but not one that PyTorch wrote: {len(names)} files in it "
            f"({listed}); unpack it and name one"
        )
    return kept[names[0]]


def shards_of(path: Path, data: np.ndarray) -> dict[str, Path]:
    """The file of every array, from the index of a sharded checkpoint.

    Raises:
        InputError: the index is malformed, or a file is missing beside it.
    """
    try:
        weight_map = json.loads(data.tobytes())["weight_map"]
        named = {str(name): str(file) for name, file in weight_map.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError("an index of shards that is malformed") from None
    files = {file: path.parent / file for file in named.values()}
    for file, where in files.items():
        if PurePosixPath(file).name != file or file in (".", "..") or "\\" in file:
            raise InputError(f"an index that names a file elsewhere: {one_line(file)[:200]}")
        if not where.is_file():
            raise InputError(f"{one_line(file)[:200]} is missing beside its index")
    if not named:
        raise InputError("an index that names no arrays")
    return {name: files[file] for name, file in named.items()}
