"""A video drives a photograph: reading a driver's expressions, and the video of their result."""
