"""Transfer methods, one a file."""
