"""Layers of a rendered eye: skin, eyeball, hair and glasses."""
