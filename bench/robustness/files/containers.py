"""Files in archives, and one checkpoint in two files."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Write = Callable[[Path, dict[str, np.ndarray]], object]


def tarred(members: Mapping[str, bytes], mode: str = "w", kind: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=kind) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("run")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return file.getvalue()


def zipped(members: Mapping[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def sharded(folder: Path, state: Mapping[str, np.ndarray], write: Write, kind: str) -> Path:
    """A checkpoint in two files and the index that names them."""
    names, where = list(state), dict[str, str]()
    for number, part in enumerate((names[:7], names[7:]), 1):
        file = f"model-{number:05d}-of-00002.{kind}"
        write(folder / file, {n: state[n] for n in part})
        where |= dict.fromkeys(part, file)
    index = folder / f"model.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 9}, "weight_map": where}))
    return index
