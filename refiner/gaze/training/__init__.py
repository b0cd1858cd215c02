"""Training of gaze estimators: batches, losses, co-teaching, and the files of a run."""
