"""Facial expressions as Action Unit activations: estimated from pictures, applied to pictures."""
