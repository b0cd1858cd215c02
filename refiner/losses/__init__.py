"""Losses of the refiner and the discriminator, one kind in each file."""
