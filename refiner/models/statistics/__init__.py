"""Refiners without a network: statistics of real images, which are given to renders."""
