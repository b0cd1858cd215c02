"""YOLO: reader and writer."""
