"""Data sets: their formats, labels and stores, how they are converted, and how training draws from them."""
