"""Judge transferred expressions: is the output still the target person, and did its AUs change?

This package does not depend on JAX, on Glow, or on how the pictures were made. Import names from
its modules (`from eval.protocol import figures`): `import eval` would hide Python's `eval`.
"""
