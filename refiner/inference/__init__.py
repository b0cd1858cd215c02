"""Refining: one batch, one image, a folder, a store."""
