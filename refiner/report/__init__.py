"""Reports on a refiner: an HTML page, a visual Turing test, a model card, and plots of a gaze test."""
