"""Files of refiners and estimators: weights and their metadata, lookup by name, hub, model card."""
