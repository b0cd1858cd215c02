"""Annotations of objects in images, in the formats that renderers and annotation tools write."""
