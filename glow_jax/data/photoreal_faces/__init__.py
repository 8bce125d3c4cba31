"""People who look real and do not exist: a generator's pictures, their labels, and pairs."""
