"""Training a refiner: the loop, what it starts from, and which weights are kept."""
