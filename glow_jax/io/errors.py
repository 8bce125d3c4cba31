"""The exception that means: the user's input is wrong; and its kind of which no item is guilty."""

from glow_jax.io.terminal import printable


class InputError(ValueError):
    """Bad input. The message is one clear line: what was wrong, where, what is accepted.

    Its text is `printable`, though a name in it, of a hostile file, may not be.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class OutputError(InputError):
    """A place that cannot be written to, whatever is written: a full disk, a missing folder.

    One item of many that fails does not end a run; this does.
    """
