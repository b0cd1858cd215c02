"""Labelled procedural hands as depth images, and a simulated target sensor."""
