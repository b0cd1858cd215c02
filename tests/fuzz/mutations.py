"""All mutations.

Each is a function of a folder and a random generator. It changes the folder and returns the relative paths that it
touched, or none if it found nothing to change.
"""

from pathlib import Path

import numpy as np
from choices import Mutation, Random, files_of, pick_weighted
from containers import damage_hdf5, damage_matlab
from contents import damage_bytes, damage_json, damage_table, damage_text, plant_pickle, swap_files
from names import add_namesakes, add_odd_image, add_special, remove, rename

MUTATIONS: dict[str, tuple[float, Mutation]] = {
    "bytes": (3, damage_bytes),
    "pickle": (1, plant_pickle),
    "swapped": (1, swap_files),
    "table": (2.5, damage_table),
    "json": (2.5, damage_json),
    "text": (1, damage_text),
    "name": (1.5, rename),
    "odd image": (2.5, add_odd_image),
    "namesakes": (1, add_namesakes),
    "special": (2, add_special),
    "removed": (0.5, remove),
    "hdf5": (3, damage_hdf5),
    "matlab": (1, damage_matlab),
}
"""Mutations by name, with the weight of their choice."""


def mutate(root: Path, rng: Random) -> tuple[list[str], set[str]]:
    """Damage a folder one to three times; return the names of the mutations and the paths they touched."""
    weights = np.array([weight for weight, _ in MUTATIONS.values()])
    done: list[str] = []
    touched: set[str] = set()
    wanted = int(rng.integers(1, 4))
    for _ in range(20):
        name = pick_weighted(list(MUTATIONS), weights, rng)
        if not files_of(root) or len(done) == wanted:
            break
        paths = MUTATIONS[name][1](root, rng)
        if paths:
            done.append(name)
            touched.update(paths)
    return done, touched
