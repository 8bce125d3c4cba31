"""A limit in total: the memory and the work that reading one file may cost."""

from glow_jax.io.errors import InputError

MAX_BYTES = 2**30 + 2**29
MAX_STEPS = 2_000_000  # of a pickle or a protocol buffer; a large checkpoint takes 100 000


class Budget:
    """What a reader may still allocate and do. Whoever allocates or computes asks first.

    Args:
        n_bytes: memory in all, besides the mapped file itself.
        n_steps: elementary steps in all: instructions, fields, elements of arrays.
    """

    def __init__(self, n_bytes: int = MAX_BYTES, n_steps: int = MAX_STEPS):
        self._bytes_left = self.n_bytes = n_bytes
        self._steps_left = self.n_steps = n_steps

    def allocate(self, n_bytes: int) -> None:
        """Raise InputError if so much memory is not left."""
        self._bytes_left -= n_bytes
        if self._bytes_left < 0:
            raise InputError(f"refused: reading it needs more than {self.n_bytes >> 20} MiB")

    def step(self, n_steps: int = 1) -> None:
        """Raise InputError if so many steps are not left."""
        self._steps_left -= n_steps
        if self._steps_left < 0:
            raise InputError(f"refused: reading it takes more than {self.n_steps} steps")
