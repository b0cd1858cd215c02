"""Hugging Face ImageFolder: reader and writer."""
