"""The downstream task: a gaze estimator that is trained on renders, raw or refined, and tested on photographs."""
