"""The exception for wrong input of the user."""


class InputError(ValueError):
    """Wrong input. The message is one line: what is wrong, where, and what is accepted."""
