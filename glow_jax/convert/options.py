"""What a checkpoint does not tell: asked for by name, or assumed aloud; never guessed silently."""

from collections.abc import Mapping

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line


class Options:
    """The user's answers, and what a file or its neighbour told.

    A reader asks for everything it needs, gets a stand-in for what is missing, and `check`
    reports all of that at once.

    Attributes:
        notes: assumptions that were made, for the user to read.
    """

    def __init__(
        self,
        image_size: tuple[int, int] | None = None,
        bits: int | None = None,
        settings: Mapping[str, str] | None = None,
        ema: bool = False,
    ):
        self._size, self._bits = image_size, bits
        self._settings = dict(settings or {})
        self._said = frozenset(self._settings)
        self._used: set[str] = set()
        self._asked: list[str] = []
        self._family = ""
        self.ema = ema
        self.notes: list[str] = []

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W); a stand-in before `check` has passed."""
        return self._size or (1, 1)

    @property
    def bits(self) -> int:
        return self._bits or 8

    def needs_size_and_bits(self, family: str, bits: int | None = None) -> None:
        """Ask for what is still unknown; `bits` where the family's code fixes them."""
        if bits is not None:
            self.fixes_bits(bits, f"{family} always trains at")
        self.needs_size(family)
        if self._bits is None:
            self._asked.append("`bits` N (1 to 8, as it was trained)")

    def needs_size(self, family: str) -> None:
        """Ask for the image size if it is still unknown."""
        self._family = family
        if self._size is None:
            self._asked.append("`image_size` (H, W)")

    def fixes_bits(self, bits: int, because: str) -> None:
        """The file or its family's code settles the bits.

        Raises:
            InputError: the user said another number.
        """
        if self._bits not in (None, bits):
            raise InputError(f"`bits` {self._bits}: {because} {bits}")
        self._bits = bits

    def found_size(self, height: int, width: int, where: str) -> None:
        """The file tells the image size.

        Raises:
            InputError: the user said another.
        """
        if self._size not in (None, (height, width)):
            assert self._size is not None
            given = f"{self._size[0]}x{self._size[1]}"
            raise InputError(f"`image_size` {given}, but {where} is of {height}x{width} images")
        self._size = height, width

    def suggest_size(self, height: int, width: int) -> None:
        """A file beside the checkpoint tells the image size; the user's word counts more."""
        self._size = self._size or (height, width)

    def found_bits(self, bits: int) -> None:
        """A file beside the checkpoint tells the bits; the user's word counts more."""
        self._bits = self._bits or bits

    def found(self, name: str, value: str) -> None:
        """A file beside the checkpoint tells a setting; the user's word counts more."""
        self._settings.setdefault(name, value)

    def setting(self, name: str, choices: tuple[str, ...], assume: str | None = None) -> str:
        """The value of a setting.

        Args:
            name: of the setting, in the source's own words.
            choices: what is accepted.
            assume: the source's default, taken and noted if nothing was said; None to ask.

        Raises:
            InputError: another value was given.
        """
        self._used.add(name)
        value = self._settings.get(name)
        if value is None and assume is None:
            question = f"`settings` {name}={'|'.join(choices)}"
            if question not in self._asked:
                self._asked.append(question)
            return choices[0]
        if value is None:
            self.notes.append(f"assumed {name}={assume}, that code's default (`settings` {name}=…)")
            return str(assume)
        if value not in choices:
            raise InputError(f"`settings` {name}={one_line(value)}: use {', '.join(choices)}")
        return value

    def number(self, name: str, assume: float) -> float:
        """The value of a numeric setting; noted if assumed."""
        self._used.add(name)
        text = self._settings.get(name)
        if text is None:
            self.notes.append(
                f"assumed {name}={assume:g}, that code's default (`settings` {name}=…)"
            )
            return assume
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not abs(value) < 1e3:
            raise InputError(f"`settings` {name}={one_line(text)}: use a number")
        return value

    def check(self) -> None:
        """Everything was asked.

        Raises:
            InputError: answers are missing, or answers were given that nobody asked for.
        """
        if self._asked:
            raise InputError(
                f"{self._family} files do not tell everything; add {' '.join(self._asked)}"
            )
        unknown = sorted(self._said - self._used)
        if unknown:
            known = ", ".join(sorted(self._used)) or "none"
            raise InputError(
                f"`settings` {one_line(unknown[0])}: not a setting of "
                f"{self._family or 'this format'}; its settings: {known}"
            )
