"""Distances between sets of images, the two-sample test, and intervals."""
