"""Expressions as activations of Action Units: read from pictures, and put on pictures."""
