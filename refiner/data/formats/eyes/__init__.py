"""Readers of data sets of eyes, real and rendered."""
