"""Positions in annotations: how they follow a crop and a resize, and the shapes they describe."""
