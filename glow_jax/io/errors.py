"""The exception that means: the user's input is wrong; and its kind of which no item is guilty."""


class InputError(ValueError):
    """Bad input. The message is one clear line: what was wrong, where, what is accepted."""


class OutputError(InputError):
    """A place that cannot be written to, whatever is written: a full disk, a missing folder.

    One item of many that fails does not end a run; this does.
    """
