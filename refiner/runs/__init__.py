"""The run folder, checkpoints, and the processes that train together."""
