"""Training of a flow: one step, a run that can be killed, its log, many devices, presets."""
