"""Settings that a checkpoint does not record: required from the user, or assumed with a note."""

from collections.abc import Mapping

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line


class Options:
    """Settings of a conversion, from the user, the checkpoint, or a file beside it.

    A converter asks for every setting that it needs. For a missing one it gets a placeholder, and
    `check` then reports all missing settings in one message.

    Attributes:
        notes: assumptions that were made, for the user.
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
        """(H, W); a placeholder if unknown, which `check` reports."""
        return self._size or (1, 1)

    @property
    def bits(self) -> int:
        return self._bits or 8

    def needs_size_and_bits(self, family: str, bits: int | None = None) -> None:
        """Ask for image size and bits; `bits` is given if the code of the family fixes them."""
        if bits is not None:
            self.fixes_bits(bits, f"{family} always trains at")
        self.needs_size(family)
        if self._bits is None:
            self._asked.append("`bits` N (1 to 8, as in its training)")

    def needs_size(self, family: str) -> None:
        """Ask for the image size, if it is unknown."""
        self._family = family
        if self._size is None:
            self._asked.append("`image_size` (H, W)")

    def fixes_bits(self, bits: int, because: str) -> None:
        """Record the bits, which the file or the code of its family determines.

        Raises:
            InputError: the user gave another number.
        """
        if self._bits not in (None, bits):
            raise InputError(f"`bits` {self._bits}: {because} {bits}")
        self._bits = bits

    def found_size(self, height: int, width: int, where: str) -> None:
        """Record the image size, which the file determines.

        Raises:
            InputError: the user gave another size.
        """
        if self._size not in (None, (height, width)):
            assert self._size is not None
            given = f"{self._size[0]}x{self._size[1]}"
            raise InputError(f"`image_size` {given}, but {where} is of {height}x{width} images")
        self._size = height, width

    def suggest_size(self, height: int, width: int) -> None:
        """Record an image size from a file beside the checkpoint, unless the user gave one."""
        self._size = self._size or (height, width)

    def found_bits(self, bits: int) -> None:
        """Record bits from a file beside the checkpoint, unless the user gave some."""
        self._bits = self._bits or bits

    def found(self, name: str, value: str) -> None:
        """Record a setting from a file beside the checkpoint, unless the user gave it."""
        self._settings.setdefault(name, value)

    def setting(self, name: str, choices: tuple[str, ...], assume: str | None = None) -> str:
        """The value of a setting.

        Args:
            name: name of the setting in the source code.
            choices: accepted values.
            assume: the source's default, which is used, with a note, if the user gave no value;
                None if the user must give one.

        Raises:
            InputError: the user gave a value that is not accepted.
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
        """The value of a numeric setting; an assumed one is noted."""
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
        """Check the settings after the converter has asked for all that it needs.

        Raises:
            InputError: settings are missing, or the user gave settings that were not asked for.
        """
        if self._asked:
            raise InputError(
                f"{self._family} files do not record everything; add {' '.join(self._asked)}"
            )
        unknown = sorted(self._said - self._used)
        if unknown:
            known = ", ".join(sorted(self._used)) or "none"
            raise InputError(
                f"`settings` {one_line(unknown[0])}: not a setting of "
                f"{self._family or 'this format'}; its settings: {known}"
            )
