"""The container of HEIC and AVIF files: size, orientation and colours of the primary picture.

Source: ISO 14496-12 (boxes, `meta`, `iloc`, `iinf`), ISO 23008-12 (HEIF: `ispe`, `irot`, `imir`),
ISO 23000-22, 7.3.6.7 (the order of transformations), ITU-T H.273 (`nclx`).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_BOXES = 4096  # beside one another; libheif has 1000 items at most
MAX_ITEMS = 1000
MAX_TABLES = 8  # of properties
XMP = b"application/rdf+xml"  # the type of the content
SEQUENCES = (b"avis", b"hevc", b"hevx", b"msf1")  # brands of animations

# EXIF's orientation of a rotation by quarter turns anticlockwise, then a mirror: none, top and
# bottom swapped (axis 0), left and right swapped (axis 1).
_ORIENTATION = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))


class Box(NamedTuple):
    """A box and where its content lies."""

    kind: bytes
    start: int
    end: int


@dataclass(frozen=True)
class HeifPicture:
    """The primary picture of a HEIC or AVIF file.

    Attributes:
        codec: of the picture, or of the tiles that it is made of: b"hvc1", b"av01", ...
        width, height: pixels, before the orientation.
        shown: width and height of what is shown, the clean aperture; (width, height) without one.
        largest: pixels of the largest picture or tile in the file.
        orientation: EXIF's number, from the rotation and the mirror of the container: EXIF's own
            does not count in these files.
        icc: the ICC profile; empty for none.
        primaries, transfer: of ITU-T H.273, 2 where they are not stated.
        xmp: the XMP packet; empty for none.
        metadata: where in the file the types of items stand that make no pixels.
        turns: where in the file the boxes of the rotation and the mirror begin.
    """

    codec: bytes
    width: int
    height: int
    shown: tuple[int, int]
    largest: int
    orientation: int
    icc: bytes
    primaries: int
    transfer: int
    xmp: bytes
    metadata: tuple[int, ...]
    turns: tuple[int, ...]


def brands(data: bytes) -> tuple[bytes, ...]:
    """The brands of a file, the major one first; none where it does not begin with them."""
    if data[4:8] != b"ftyp":
        return ()
    end = min(struct.unpack_from(">I", data)[0], len(data), 256)
    return (data[8:12], *(data[i : i + 4] for i in range(16, end - 3, 4)))


def read_boxes(data: bytes) -> HeifPicture:
    """Read the container; no picture is decoded.

    Raises:
        ValueError, struct.error, IndexError: the file is damaged, or holds no picture.
    """
    top = {box.kind: box for box in _boxes(data, 0, len(data))}
    if b"meta" not in top:
        raise ValueError("no picture in it")
    meta = top[b"meta"]
    parts = {box.kind: box for box in _boxes(data, meta.start + 4, meta.end)}
    if not {b"pitm", b"iinf", b"iprp"} <= parts.keys():
        raise ValueError("no primary picture in it")
    version = data[parts[b"pitm"].start]
    (primary,) = struct.unpack_from(">I" if version else ">H", data, parts[b"pitm"].start + 4)
    items = _items(data, parts[b"iinf"])
    boxes, owners = _properties(data, parts[b"iprp"])
    own = [boxes[i] for i in owners.get(primary, ())]
    sizes = [struct.unpack_from(">II", data, b.start + 4) for b in boxes if b.kind == b"ispe"]
    if primary not in items:
        raise ValueError("no primary picture in it")
    first = [struct.unpack_from(">II", data, b.start + 4) for b in own if b.kind == b"ispe"]
    if not first:
        raise ValueError("it states no size")
    icc, primaries, transfer = _colours(data, own, boxes)
    packets = [number for number, item in items.items() if item.content == XMP]
    xmp = _content(data, parts, packets[0]) if packets and b"iloc" in parts else b""
    width, height = first[0]
    return HeifPicture(
        codec=_codec(items, primary),
        width=width,
        height=height,
        shown=_shown(data, own, (width, height)),
        largest=max(wide * high for wide, high in sizes),
        orientation=_orientation(data, own),
        icc=icc,
        primaries=primaries,
        transfer=transfer,
        xmp=xmp,
        metadata=tuple(i.at for i in items.values() if i.kind in (b"Exif", b"mime", b"uri ")),
        turns=tuple(box.start - 4 for box in boxes if box.kind in (b"irot", b"imir")),
    )


class _Item(NamedTuple):
    kind: bytes
    content: bytes  # type of its content, of a `mime` item
    at: int  # where in the file `kind` stands


def _boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes beside one another in a part of the file."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, start + 8), 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            raise ValueError("a box is longer than what holds it")
        yield Box(kind, start + head, start + size)
        start += size
    raise ValueError("too many boxes")


def _items(data: bytes, iinf: Box) -> dict[int, _Item]:
    """What each item is, by its number."""
    found: dict[int, _Item] = {}
    head = 8 if data[iinf.start] else 6
    for box in _boxes(data, iinf.start + head, iinf.end):
        version = data[box.start]
        if box.kind != b"infe" or version < 2:
            continue
        (number,) = struct.unpack_from(">H" if version == 2 else ">I", data, box.start + 4)
        at = box.start + (8 if version == 2 else 10)
        names = data[at + 4 : box.end].split(b"\0")
        kind = data[at : at + 4]
        content = names[1] if kind == b"mime" and len(names) > 1 else b""
        found[number] = _Item(kind, content, at)
    if len(found) > MAX_ITEMS:
        raise ValueError("too many pictures in it")
    return found


def _properties(data: bytes, iprp: Box) -> tuple[list[Box], dict[int, list[int]]]:
    """The properties of all items, and which are whose."""
    boxes: list[Box] = []
    owners: dict[int, list[int]] = {}
    tables = list(_boxes(data, iprp.start, iprp.end))
    if len(tables) > MAX_TABLES:
        raise ValueError("too many boxes")
    for part in tables:
        if part.kind == b"ipco":
            boxes += _boxes(data, part.start, part.end)
        elif part.kind == b"ipma":
            _associations(data, part, owners)
    return boxes, {
        item: [i - 1 for i in own if 0 < i <= len(boxes)] for item, own in owners.items()
    }


def _associations(data: bytes, ipma: Box, owners: dict[int, list[int]]) -> None:
    """Add the numbers, from 1, of the properties of each item."""
    version, flags = data[ipma.start], data[ipma.start + 3]
    (count,) = struct.unpack_from(">I", data, ipma.start + 4)
    if count > MAX_ITEMS:
        raise ValueError("too many pictures in it")
    at = ipma.start + 8
    for _ in range(count):
        (item,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        n, at = data[at], at + 1
        letter, mask = ("H", 0x7FFF) if flags & 1 else ("B", 0x7F)
        numbers = struct.unpack_from(f">{n}{letter}", data, at)
        at += n * (2 if flags & 1 else 1)
        owners.setdefault(item, []).extend(i & mask for i in numbers)


def _codec(items: dict[int, _Item], primary: int) -> bytes:
    """How the primary picture is coded; of one that is made of others, how those are."""
    kind = items[primary].kind
    if kind not in (b"grid", b"iden", b"iovl", b"tmap"):
        return kind
    return next((i.kind for i in items.values() if i.kind in (b"hvc1", b"av01")), kind)


def _shown(data: bytes, own: list[Box], size: tuple[int, int]) -> tuple[int, int]:
    for box in own:
        if box.kind == b"clap":
            width, of_width, height, of_height = struct.unpack_from(">4I", data, box.start)
            if of_width and of_height:
                return width // of_width, height // of_height
    return size


def _orientation(data: bytes, own: list[Box]) -> int:
    turns = mirror = 0
    for box in own:
        if box.kind == b"irot":
            turns = data[box.start] & 3
        elif box.kind == b"imir":
            mirror = 1 + (data[box.start] & 1)
    return _ORIENTATION[turns][mirror]


def _colours(data: bytes, own: list[Box], boxes: list[Box]) -> tuple[bytes, int, int]:
    """ICC profile, primaries and transfer: the picture's own, or else those of its tiles."""
    icc, primaries, transfer = b"", 2, 2
    for place in (own, boxes):
        for box in place:
            kind = data[box.start : box.start + 4] if box.kind == b"colr" else b""
            if kind in (b"prof", b"rICC"):
                icc = icc or data[box.start + 4 : box.end]
            elif kind == b"nclx":
                primaries, transfer = struct.unpack_from(">HH", data, box.start + 4)
        if icc or (primaries, transfer) != (2, 2):
            break
    return icc, primaries, transfer


def _content(data: bytes, parts: dict[bytes, Box], wanted: int) -> bytes:
    """An item's bytes, where they lie in one piece; empty otherwise.

    Source: ISO 14496-12, 8.11.3.
    """
    box = parts[b"iloc"]
    version, sizes = data[box.start], struct.unpack_from(">BB", data, box.start + 4)
    n_offset, n_length, n_base = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    n_index = sizes[1] & 15 if version else 0
    at = box.start + 6
    wide = 4 if version == 2 else 2

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > box.end:
            raise ValueError("it ends inside its header")
        return int.from_bytes(data[at - size : at], "big")

    for _ in range(min(number(wide), MAX_ITEMS)):
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)  # the file that holds it: this one
        base, n_extents = number(n_base), number(2)
        extents = []
        for _ in range(min(n_extents, MAX_ITEMS)):
            number(n_index)
            extents.append((number(n_offset), number(n_length)))
        if item == wanted and len(extents) == 1 and method in (0, 1):
            inside = parts[b"idat"].start if method == 1 and b"idat" in parts else 0
            start = inside + base + extents[0][0]
            return data[start : start + extents[0][1]]
    return b""
