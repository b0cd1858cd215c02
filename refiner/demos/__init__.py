"""The demos: everything at once on rendered eyes and hands."""
