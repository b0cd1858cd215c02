"""Pairs of renders and refined images."""
