"""Seeded damage to sound files, blind and aware of their structure.

Every function takes a random generator and bytes, and gives other bytes; equal generators give
equal damage. What is aware of a structure keeps it: a zip's members, a PNG's chunks with true
checksums, JSON's values, a table's cells, so that the damage reaches what lies behind them.
"""

import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Change = Callable[[random.Random, bytes], bytes]
Files = dict[str, bytes]
"""An input: bytes by the name of a file in a folder."""

STRUCTURE = 4000  # bytes at either end, where a file's structure is
EXTREMES = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
LARGE_EXTREMES = (2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = (
    *("", "x", "nan", "inf", "-inf", "1e400", "-1", "0", "1e-400", "2147483648", "9" * 400),
    *("9" * 5000, "../../../etc/passwd", "/dev/zero", "/proc/self/mem", "\x00", "\x1b[31m", "\r\n"),
    *("\ud800", "é", "e\u0301", "=cmd()", "*", "**/*", "[", "{", "'", '"', ",", ";", "a" * 70_000),
    *("null", "true", "1_000", "٣", "0x10", "1,5", " ", "-", "%s", "{0}", "${HOME}", "~", "."),
)
# JSON that a parser must bear: written as it is, since Python cannot print all of it.
RAW_JSON = (
    *("0", "1", "-1", "1.5", "true", "null", '""', "[]", "{}", "1e400", "NaN", "-Infinity"),
    *("9" * 400, "9" * 5000, "2147483648", "9223372036854775808", "1e308", "-0.0", '"\\ud800"'),
    *('"\\u0000"', '"\\u001b[31m"', '"/dev/zero"', '"../../x"', "[" * 2000 + "]" * 2000),
    *('{"a":' * 2000 + "0" + "}" * 2000, "[[]]", "[null]", '[{"file": 1}]', '"' + "a" * 5000 + '"'),
    *('{"__proto__": 1}', "[1, [2, [3]]]", '{"": ""}', "[" + "0," * 3000 + "0]"),
)


def damaged(rng: random.Random, whole: bytes) -> bytes:
    """Bytes flipped, cut out, doubled or put in, most of them where the structure is."""
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4))):
        end = min(len(data), STRUCTURE)
        if not end:
            break
        at = rng.randrange(end) if rng.random() < 0.7 else len(data) - 1 - rng.randrange(end)
        size = rng.choice((1, 1, 2, 4, 8, 100))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + size] = rng.randbytes(min(size, 8))
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = data[at : at + size]
        else:
            data[at : at + 1] = rng.choice((b"\xff", b"\0", b"\x7f", b"\x80"))
    return bytes(data)


def cut(rng: random.Random, data: bytes) -> bytes:
    """A beginning, sometimes an end, sometimes nothing."""
    if rng.random() < 0.05:
        return b""
    at = rng.randrange(len(data) + 1)
    return data[:at] if rng.random() < 0.8 else data[at:]


def joined(rng: random.Random, data: bytes) -> bytes:
    """The file twice, or with a piece of itself elsewhere."""
    if rng.random() < 0.3:
        return data + data
    start, at = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 16, 256, 4096))]
    return data[:at] + piece + data[at + rng.choice((0, len(piece))) :]


def extreme_number(rng: random.Random, data: bytes) -> bytes:
    """A field of 1, 2, 4 or 8 bytes, which may be a length, replaced by an extreme."""
    size = rng.choice((1, 2, 4, 4, 8, 8))
    if len(data) < size:
        return data
    end = min(len(data) - size, STRUCTURE)
    at = rng.randrange(end + 1) if rng.random() < 0.7 else rng.randrange(len(data) - size + 1)
    value = rng.choice((*EXTREMES, *LARGE_EXTREMES)) % 2 ** (8 * size)
    order: Any = rng.choice(("little", "big"))
    return data[:at] + value.to_bytes(size, order) + data[at + size :]


BLIND: tuple[Change, ...] = (damaged, damaged, cut, joined, extreme_number, extreme_number)


def blindly(rng: random.Random, data: bytes) -> bytes:
    """One of the changes that know nothing of the file."""
    return rng.choice(BLIND)(rng, data)


# -- aware of a structure


def json_changed(rng: random.Random, data: bytes) -> bytes:
    """A value, a key or an entry of JSON replaced, doubled or taken out."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return blindly(rng, data)
    places = list(_places(tree, ()))
    if not places:
        return rng.choice(RAW_JSON).encode()
    path = rng.choice(places)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    kind, last = rng.randrange(8), path[-1]
    if kind < 5:
        parent[last] = MARK
    elif kind == 5:
        del parent[last]
    elif isinstance(parent, dict):
        parent[rng.choice(TEXTS)] = parent.pop(last)
    else:
        parent.insert(rng.randrange(len(parent) + 1), parent[last])
    raw = rng.choice(RAW_JSON)
    return json.dumps(tree).replace(f'"{MARK}"', raw).encode()


MARK = "@replaced@"


def _places(tree: Any, path: tuple[Any, ...]) -> Any:
    """The path of every value but the root; of a long list the first few."""
    entries: Any = ()
    if isinstance(tree, dict):
        entries = tree.items()
    elif isinstance(tree, list):
        entries = enumerate(tree[:12])
    for key, value in entries:
        yield (*path, key)
        yield from _places(value, (*path, key))


def json_lines_changed(rng: random.Random, data: bytes) -> bytes:
    """One line of JSON lines changed."""
    lines = data.split(b"\n")
    i = rng.randrange(len(lines))
    lines[i] = json_changed(rng, lines[i])
    return b"\n".join(lines)


def table_changed(rng: random.Random, data: bytes) -> bytes:
    """A table's cell, row or column changed; or its encoding, line ends or separator."""
    kind = rng.randrange(10)
    if kind == 0:
        return _encoded_otherwise(rng, data)
    rows = [line.split(b",") for line in data.split(b"\n")]
    i = rng.randrange(len(rows)) if rng.random() < 0.7 else 0
    j = rng.randrange(len(rows[i]))
    text = rng.choice(TEXTS).encode(errors="surrogatepass")
    if kind < 6:
        rows[i][j] = text
    elif kind == 6:
        del rows[i]
    elif kind == 7:
        rows.insert(rng.randrange(len(rows) + 1), list(rows[i]))
    elif kind == 8:
        del rows[i][j]
    else:
        rows[i].insert(j, text)
    return b"\n".join(b",".join(row) for row in rows)


def _encoded_otherwise(rng: random.Random, data: bytes) -> bytes:
    text = data.decode(errors="replace")
    other: dict[str, Callable[[], bytes]] = {
        "utf-16": lambda: text.encode("utf-16"),
        "utf-16-le": lambda: text.encode("utf-16-le"),
        "utf-32": lambda: text.encode("utf-32"),
        "bom": lambda: b"\xef\xbb\xbf" + data,
        "crlf": lambda: data.replace(b"\n", b"\r\n"),
        "cr": lambda: data.replace(b"\n", b"\r"),
        "semicolon": lambda: data.replace(b",", b";"),
        "tab": lambda: data.replace(b",", b"\t"),
        "empty columns": lambda: data.replace(b"\n", b",,,\n"),
        "empty rows": lambda: data + b"\n,,,\n,,,\n",
        "quoted": lambda: data.replace(b",", b'","'),
        "decimal comma": lambda: data.replace(b".", b","),
        "zeros": lambda: data.replace(b"a", b"\0"),
        "latin-1": lambda: data.replace(b"e", b"\xe9"),
    }
    return other[rng.choice(sorted(other))]()


def words_changed(rng: random.Random, data: bytes) -> bytes:
    """A word, number or mark of a text (YAML, TOML, lists) replaced, doubled or taken out."""
    words = re.split(rb"([\w./*+-]+|\s+)", data)
    words = [word for word in words if word]
    if not words:
        return data
    i, kind = rng.randrange(len(words)), rng.randrange(6)
    if kind < 3:
        words[i] = rng.choice((*TEXTS, *YAML_WORDS)).encode(errors="surrogatepass")
    elif kind == 3:
        del words[i]
    elif kind == 4:
        words.insert(rng.randrange(len(words) + 1), words[i])
    else:
        j = rng.randrange(len(words))
        words[i], words[j] = words[j], words[i]
    return b"".join(words)


YAML_WORDS = (
    *("!!int ''", "!!float x", "!!python/object/apply:os.system [id]", "&a [*a]", "*a", "<<: *a"),
    *(
        "2024-01-01",
        "1e3",
        "0o17",
        "0x",
        "~",
        "!!binary AAA=",
        "? [1]\n: 2",
        "|",
        "> x",
        "---",
        "...",
    ),
    *("!!timestamp 9999-99-99", "!!set {a}", "!!omap [a: 1]", "!!str 1", "- - - -", "yes", ".nan"),
    *("190:20:30", "0b2", "+.inf", "@", "`", "%", "!x", "&", "%YAML 9.9\n---", "\t", "#"),
)


def zip_changed(rng: random.Random, data: bytes) -> bytes:
    """A member of a zip changed, renamed, doubled, taken out or packed, with a true checksum."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
    except Exception:
        return blindly(rng, data)
    if not members:
        return blindly(rng, data)
    i, kind = rng.randrange(len(members)), rng.randrange(8)
    pack = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else members[i][0].compress_type
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for n, (info, content) in enumerate(members):
            copies, name = 1, info.filename
            if n == i and kind < 5:
                content = (
                    npy_changed(rng, content) if name.endswith(".npy") else damaged(rng, content)
                )
            elif n == i:
                copies = {5: 0, 6: 2}.get(kind, 1)
                name = rng.choice(("x", "../x", "/x", name.upper())) if kind == 7 else name
            for _ in range(copies):
                new = zipfile.ZipInfo(name)
                new.compress_type = pack
                with _no_warnings():
                    archive.writestr(new, content)
    return file.getvalue()


def _no_warnings() -> Any:
    import warnings

    return warnings.catch_warnings(action="ignore")


NPY_TEXTS = (
    *(b"'<f8'", b"'<f4'", b"'|O'", b"'<U9'", b"'<M8[s]'", b"'|V0'", b"'<c16'", b"'|b1'", b"'>f4'"),
    *(b"(0,)", b"()", b"(-1,)", b"(1099511627776,)", b"(9223372036854775807, 4)", b"True", b"None"),
    *(b"[('a', '<f4')]", b"(2, 2)", b"'<i9'", b"'|S1000000000'", b"('<f4', (3,))", b"{}", b"x"),
)


def npy_changed(rng: random.Random, data: bytes) -> bytes:
    """The header of a .npy's array replaced in part, with a true length; or its numbers."""
    if not data.startswith(b"\x93NUMPY\1\0") or rng.random() < 0.4:
        return _numbers_changed(rng, data) if rng.random() < 0.5 else damaged(rng, data)
    (length,) = struct.unpack_from("<H", data, 8)
    header = data[10 : 10 + length]
    pieces = re.findall(rb"'<?[\w|>]+'|\([^)]*\)|True|False", header) or [b"descr"]
    old = rng.choice(pieces)
    header = header.replace(old, rng.choice(NPY_TEXTS), 1)[:60_000]
    return data[:8] + struct.pack("<H", len(header)) + header + data[10 + length :]


def _numbers_changed(rng: random.Random, data: bytes) -> bytes:
    """A float32 of an array replaced by one that is not finite, or huge, or tiny."""
    if len(data) < 140:
        return data
    values = (float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, 1e20, -0.0)
    at = 128 + 4 * rng.randrange((len(data) - 128) // 4)
    return data[:at] + struct.pack("<f", rng.choice(values)) + data[at + 4 :]


def png_changed(rng: random.Random, data: bytes) -> bytes:
    """A chunk of a PNG changed, moved, doubled or taken out, with a true checksum."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return blindly(rng, data)
    i, kind = rng.randrange(len(chunks)), rng.randrange(6)
    name, content = chunks[i]
    if kind < 3:
        chunks[i] = name, (extreme_number if name == b"IHDR" else damaged)(rng, content)
    elif kind == 3:
        del chunks[i]
    elif kind == 4:
        chunks.insert(rng.randrange(len(chunks) + 1), chunks[i])
    else:
        new = rng.choice((b"acTL", b"iCCP", b"eXIf", b"iTXt", b"tRNS", b"PLTE", b"zTXt", b"gAMA"))
        chunks.insert(1, (new, rng.randbytes(rng.choice((0, 1, 8, 300)))))
    return data[:8] + b"".join(
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks
    )


AWARE: dict[str, Change] = {
    ".json": json_changed,
    ".jsonl": json_lines_changed,
    ".csv": table_changed,
    ".txt": words_changed,
    ".yaml": words_changed,
    ".yml": words_changed,
    ".toml": words_changed,
    ".zip": zip_changed,
    ".npz": zip_changed,
    ".pt": zip_changed,
    ".png": png_changed,
}


def changed(rng: random.Random, name: str, data: bytes, aware: float = 0.6) -> bytes:
    """A file changed once or twice, mostly by what knows its structure from its name."""
    ending = "." + name.rpartition(".")[2]
    for _ in range(rng.choice((1, 1, 1, 2))):
        change = AWARE.get(ending, blindly) if rng.random() < aware else blindly
        data = change(rng, data)
    return data


def one_changed(rng: random.Random, files: Files, names: tuple[str, ...] = ()) -> Files:
    """One of an input's files changed, taken out, or exchanged with another.

    Args:
        rng: decides.
        files: a sound input.
        names: of the files that may be changed; all by default.
    """
    name = rng.choice(sorted(names or files))
    kind = rng.random()
    if kind < 0.02 and len(files) > 1:
        return {n: data for n, data in files.items() if n != name}
    if kind < 0.04 and len(files) > 1:
        return files | {name: files[rng.choice(sorted(files))]}
    return files | {name: changed(rng, name, files[name])}
