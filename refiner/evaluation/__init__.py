"""Is a refiner to be trusted: realism, label preservation, usefulness, and the verdict over them."""
