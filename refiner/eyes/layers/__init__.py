"""How it is painted: skin, eyeball, hair, glasses."""
