"""The page of `glow-jax ui` in a real browser: how fast it answers, and what it keeps in memory."""
