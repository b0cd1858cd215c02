"""Gaze networks, the estimator file, and estimators that are fitted in seconds."""
