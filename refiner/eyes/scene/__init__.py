"""Scene of a rendered eye: ranges, drawn values, geometry and light."""
