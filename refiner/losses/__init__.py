"""Losses of refiner and discriminator, one kind a file."""
