"""Rendered people who do not exist: shapes, appearance, rendering, and data sets of pictures."""
