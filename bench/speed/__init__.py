"""Speed and memory, stage by stage and against other implementations."""
