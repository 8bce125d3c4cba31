"""Train a flow: the training step, resumable runs, logs, several devices, presets."""
