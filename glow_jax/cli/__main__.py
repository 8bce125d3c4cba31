"""`python -m glow_jax.cli`: the command without its script."""

import sys

from glow_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
