"""The exception that means: the user's input is wrong; and its kind of which no item is guilty."""

from glow_jax.io.terminal import printable, shortened


class InputError(ValueError):
    """Bad input. The message is one clear line: what was wrong, where, what is accepted.

    Its lines are `printable` and `shortened`, though names in them, of a hostile file, may be
    neither.
    """

    def __str__(self) -> str:
        return "\n".join(map(shortened, printable(super().__str__()).split("\n")))


class OutputError(InputError):
    """A place that cannot be written to, whatever is written: a full disk, a missing folder.

    One item of many that fails does not end a run; this does.
    """
