"""The judge of transferred expressions: is it still the target person, and did the AUs move?

Nothing here knows JAX, Glow or how the pictures were made. Import names from its modules
(`from eval.protocol import figures`): a bare `import eval` would hide the builtin.
"""
