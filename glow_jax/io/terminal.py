"""Text without characters that would control a terminal, and streams that write no others."""

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

MAX_CHARACTERS = 1500  # of a line in a message: a file may hold megabytes without a line end
END = 300  # of them, from the line's end, where the name of a file is
STANDARD_OUTPUT = "standard output"  # as errors name it
# Control characters of ASCII (but tab and line feed) and of Latin-1, separators of lines, what
# overrides the direction of text, and bytes of names that are not UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shortened(line: str) -> str:
    """A line of more than `MAX_CHARACTERS` as its beginning and its end, others as they are."""
    if len(line) <= MAX_CHARACTERS:
        return line
    return f"{line[: MAX_CHARACTERS - END]} … {line[-END:]}"


def printable(text: str) -> str:
    """Text for terminals and reports: what would control them is escaped, as \\x1b."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class PrintableStream:
    """A text stream to which everything is written `printable`, and in its own encoding.

    Attributes:
        unfiltered: the stream itself, for whatever moves the cursor, such as a progress bar.
    """

    def __init__(self, stream: Any, name: str = ""):
        """Nothing is written yet; `name` is what errors call the stream."""
        self.unfiltered, self._name = stream, name

    def write(self, text: str) -> int:
        """Write text; what the stream's encoding lacks is escaped too.

        Raises:
            OSError: the text cannot be written, as on a full disk; its file is the stream's name.
        """
        encoding = getattr(self.unfiltered, "encoding", None) or "utf-8"
        shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        with self._named_errors():
            self.unfiltered.write(shown)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered; raises as `write` does."""
        with self._named_errors():
            self.unfiltered.flush()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = error.filename or self._name or None
            raise

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Leave the stream open: at the end, absl closes what it found as sys.stderr."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


@contextlib.contextmanager
def printable_output() -> Iterator[None]:
    """Standard output and standard error are `PrintableStream`s meanwhile."""
    before = sys.stdout, sys.stderr
    names = STANDARD_OUTPUT, "standard error"
    sys.stdout, sys.stderr = (
        stream and PrintableStream(stream, name) for stream, name in zip(before, names, strict=True)
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def unfiltered(stream: Any) -> Any:
    """The stream itself, of one that `printable_output` replaced."""
    return getattr(stream, "unfiltered", stream)
