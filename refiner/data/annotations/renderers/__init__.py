"""Formats that renderers write and nobody else: BOP, and Unity Perception with SOLO. They are only read."""
