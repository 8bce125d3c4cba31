"""`python -m glow_jax.cli`: the command without its script."""

from glow_jax.cli.launcher import launch

if __name__ == "__main__":
    launch()
