"""Files that mean harm, of every kind: those of `bench.robustness`, and archives and clips."""

import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from bench.robustness.kinds import all_kinds
from glow_jax.cli.ui import bundled


def write_hostile(folder: Path) -> list[Path]:
    """Every file once, by its bytes and its ending, as NUMBER-NAME in an existing folder."""
    found: dict[tuple[str, bytes], str] = {}
    for name, data in _all():
        found.setdefault((Path(name).suffix, data), Path(name).name)
    paths = []
    for number, ((_, data), name) in enumerate(found.items()):
        paths.append(folder / f"{number}-{name}")
        paths[-1].write_bytes(data)
    return paths


def _all() -> Iterator[tuple[str, bytes]]:
    for kind in all_kinds():
        sound = {(name, data) for files in kind.sound() for name, data in files.items()}
        for files in kind.hostile():
            yield from (one for one in files.items() if one not in sound)
    yield from archives().items()
    yield from clips().items()


def archives() -> dict[str, bytes]:
    """ZIPs: of names that lead out, of links, too large, encrypted, damaged."""
    link = zipfile.ZipInfo("etc")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    names = ("../out.png", "a/../../out.png", "/etc/out.png", "..\\out.png", "C:\\out.png")
    found = {f"name{i}.zip": _zip({name: b"1"}) for i, name in enumerate(names)}
    found["long.zip"] = _zip({"x" * 200 + ".png": b"1"})
    found["deep.zip"] = _zip({"/".join("abcdefghijk"): b"1"})
    found["link.zip"] = _zip({link: b"/etc/passwd"})
    found["many.zip"] = _zip({f"{i}.png": b"" for i in range(3000)})
    bomb = found["bomb.zip"] = _zip({"a.png": bytes(3 * 10**8)})
    found["lying.zip"] = bomb.replace(struct.pack("<I", 3 * 10**8), struct.pack("<I", 500))
    plain = _zip({"a.png": b"1", "b.png": b"2"})
    found["twice.zip"] = plain.replace(b"b.png", b"a.png")
    found["file-and-folder.zip"] = _zip({"a": b"1", "a/b.png": b"2"})
    found["cut.zip"] = plain[: len(plain) // 2]
    found["nested.zip"] = _zip({"again.zip": bomb})
    at = plain.index(b"PK\x01\x02")
    found["encrypted.zip"] = plain[: at + 8] + b"\1\0" + plain[at + 10 :]
    return found


def clips() -> dict[str, bytes]:
    """Videos: cut, with sizes that are not there, and playlists that name other files."""
    whole = bundled.CLIP.read_bytes()
    playlist = "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    return {
        "empty.mp4": b"",
        "text.mp4": b"not a video\n" * 50,
        "cut.mp4": whole[: len(whole) // 2],
        "head.mp4": whole[:64],
        "end.mp4": whole[-4096:],
        "codec.mp4": whole.replace(b"avc1", b"\xff" * 4),
        "noise.mp4": whole[:400] + bytes(range(256)) * 40 + whole[10_640:],
        "list.mp4": playlist.encode(),
        "list.m3u8": playlist.replace("file:///etc/passwd", "http://127.0.0.1:9/a.ts").encode(),
        "concat.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "session.sdp": b"v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        "atom.mp4": struct.pack(">I", 2**31) + b"ftypisom" + bytes(64),
        "zero.mp4": bytes(4) + b"moov" + bytes(64),
    }


def _zip(members: dict[str, bytes] | dict[zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()
