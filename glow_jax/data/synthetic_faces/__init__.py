"""People who do not exist: shapes, appearance, rendering, and the data set of the pictures."""
