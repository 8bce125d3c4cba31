"""Measures of `glow-jax animate` on rendered clips of people who do not exist."""
