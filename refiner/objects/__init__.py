"""Procedural scenes of objects in colour, with classes, boxes and masks."""
