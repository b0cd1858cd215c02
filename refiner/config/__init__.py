"""Every setting of a training run, and the YAML files that hold them."""
