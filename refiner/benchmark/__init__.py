"""Benchmark of refining and training on this machine."""
