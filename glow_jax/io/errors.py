"""The one exception that means: the user's input is wrong."""


class InputError(ValueError):
    """Bad input. The message is one clear line: what was wrong, where, what is accepted."""
