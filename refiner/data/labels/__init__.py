"""Labels: one record an image, tables, angles, geometry, regions, drift."""
