"""Demos of the whole pipeline on rendered eyes and on rendered hands."""
