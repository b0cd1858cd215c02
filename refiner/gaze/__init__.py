"""The downstream task: gaze estimators that are trained on raw or refined renders and tested on real images."""
