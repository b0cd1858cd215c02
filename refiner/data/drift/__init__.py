"""Label drift: how far labelled structures moved between a synthetic image and its refined image."""
