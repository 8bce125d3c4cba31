"""The judge's exception for bad input, and reasons that fit on one line."""


class InputError(ValueError):
    """Bad input. The message is one clear line: what was wrong, where, what is accepted."""


def one_line(text: object) -> str:
    """Text on one line: repr'd if it holds line ends or other control characters."""
    line = str(text)
    return line if line and line.isprintable() else repr(line)


def reason(error: Exception) -> str:
    """Why, in one line: the system's words, the first line of the message, or the type."""
    said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return one_line(said.splitlines()[0])[:300]
