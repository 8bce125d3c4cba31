"""The command `glow-jax`: its options and the verbs of this package."""
