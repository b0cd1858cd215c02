"""What is rendered: ranges, drawn values, geometry, light."""
