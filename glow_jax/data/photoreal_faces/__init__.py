"""Photoreal pictures of people who do not exist, from a generative network, with labels."""
