"""One name in several spellings: what a table says, and what is on the disk.

Windows writes paths with backslashes and text as Windows-1252; macOS writes accents as characters
of their own (Unicode's form NFD), other systems do not (NFC).
"""

import unicodedata
from collections.abc import Callable, Iterator

# Bytes that are not UTF-8, as `surrogateescape` holds them, to characters of Windows-1252. The five
# bytes that it leaves out are those of Latin-1.
WINDOWS_1252 = {
    0xDC00 + byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(128, 256)
}


def spelled_as_there(text: str, exists: Callable[[str], bool]) -> str:
    """The first spelling of a path that `exists`; the text itself where none does.

    A path that exists as it is stays as it is.
    """
    if not text or exists(text):
        return text
    for path in dict.fromkeys((text, text.replace("\\", "/"))):
        found = _part_by_part(path, exists)
        if exists(found):
            return found
    return text


def plain(name: str) -> str:
    """A name in the one spelling in which names are compared."""
    return unicodedata.normalize("NFC", name.translate(WINDOWS_1252))


def _part_by_part(path: str, exists: Callable[[str], bool]) -> str:
    """A path whose parts are each spelled as on the disk, as far as they are there."""
    if path.isascii():
        return path
    found = ""
    for i, part in enumerate(path.split("/")):
        start = f"{found}/" if i else ""
        there = (start + one for one in _spellings(part) if exists(start + one))
        found = next(there, start + part) if part else start
    return found


def _spellings(part: str) -> Iterator[str]:
    words = part.translate(WINDOWS_1252)
    yield part
    for form in ("NFC", "NFD"):
        yield unicodedata.normalize(form, words)
    try:
        yield plain(part).encode("cp1252").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
