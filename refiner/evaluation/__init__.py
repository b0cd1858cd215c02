"""Evaluation of a refiner: realism, label preservation, downstream utility, and a verdict."""
