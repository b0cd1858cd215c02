"""Inference: refine tensors, images, folders and stores."""
