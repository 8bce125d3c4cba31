"""The verbs `render` and `facekit`."""
