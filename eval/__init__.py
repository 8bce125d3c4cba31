"""Judges transferred expressions: is the output still the target, and did its AUs change?

Nothing here knows JAX, Glow or how the pictures were made. Import names from its modules
(`from eval.protocol import figures`): a bare `import eval` would hide the builtin.
"""
