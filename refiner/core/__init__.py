"""Shared foundations of every other folder: errors, files, random numbers, devices, signals."""
