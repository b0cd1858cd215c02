"""How fast this machine refines and trains."""
