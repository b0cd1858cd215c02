"""Labelled procedural eyes in torch, and a simulated target camera that makes them look like another domain."""
