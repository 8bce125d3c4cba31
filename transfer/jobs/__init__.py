"""Jobs: plan the outputs, compute them in batches, and write them to an output folder."""
