"""Inspection of data sets, runs and refiner files: facts, findings, and the fit of two data sets."""
