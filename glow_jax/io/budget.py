"""A limit on the total memory and computation for reading one file."""

from glow_jax.io.errors import InputError

MAX_BYTES = 2**30 + 2**29
MAX_STEPS = 2_000_000  # of reading a pickle or a protocol buffer; a large checkpoint needs 100 000


class Budget:
    """The memory and the steps that are left. Code must call it before it allocates or computes.

    Args:
        n_bytes: total memory, not counting the mapped file.
        n_steps: total number of elementary steps: instructions, fields, elements of arrays.
    """

    def __init__(self, n_bytes: int = MAX_BYTES, n_steps: int = MAX_STEPS):
        self._bytes_left = self.n_bytes = n_bytes
        self._steps_left = self.n_steps = n_steps

    def allocate(self, n_bytes: int) -> None:
        """Take memory from the budget; raise InputError if too little is left."""
        self._bytes_left -= n_bytes
        if self._bytes_left < 0:
            raise InputError(f"refused: reading it needs more than {self.n_bytes >> 20} MiB")

    def step(self, n_steps: int = 1) -> None:
        """Take steps from the budget; raise InputError if too few are left."""
        self._steps_left -= n_steps
        if self._steps_left < 0:
            raise InputError(f"refused: reading it takes more than {self.n_steps} steps")
