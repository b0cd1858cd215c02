"""Gaze networks, the estimator file, and short training in memory."""
