"""Data sets: formats, labels and stores, conversion, augmentation, and the image domains of training."""
