"""Transfer against rendered ground truth."""
