"""Jobs: plans, output folders, and the work between them."""
