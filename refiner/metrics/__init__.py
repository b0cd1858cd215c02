"""Metrics of image sets: distances, classifier two-sample test, memorization, and confidence intervals."""
