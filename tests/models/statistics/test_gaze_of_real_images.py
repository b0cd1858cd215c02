"""Adapted renders say little about the gaze of the real images whose statistics they got."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.data import load_patches
from refiner.images.arrays import equalize
from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner

SIZE = (36, 60)
Matrix = np.ndarray[Any, np.dtype[np.float64]]


def explained(features: Matrix, wanted: Matrix, training: np.ndarray[Any, np.dtype[np.bool_]]) -> Matrix:
    """Share of the variance of pitch and yaw that a ridge regression explains on the rows it has not seen, (2,)."""
    features, wanted = features - features[training].mean(axis=0), wanted - wanted[training].mean(axis=0)
    known = features[training]
    weights = np.linalg.solve(known.T @ known + 300 * np.eye(features.shape[1]), known.T @ wanted[training])
    left = np.square(wanted[~training] - features[~training] @ weights).sum(axis=0)
    return np.asarray(1 - left / np.square(wanted[~training] - wanted[~training].mean(axis=0)).sum(axis=0))


def shrunk(images: torch.Tensor) -> Matrix:
    return functional.avg_pool2d(images, 2).flatten(1).double().numpy()


@pytest.mark.parametrize("kind", ["fourier", "histogram"])
def test_the_gaze_of_the_real_image_can_hardly_be_predicted(kind: str, real_data: Path) -> None:
    real = load_patches([real_data / "mpiigaze_p00_dev"], size=SIZE, equalize=True, head_pose=False, key="data.train")
    reals = torch.from_numpy(real.images).float() / 127.5 - 1
    records = list(rendered_records(EyeParameters(), 400, seed=5, size=SIZE))
    renders = torch.from_numpy(np.stack([equalize(record.image) for record in records])[:, None]).float() / 127.5 - 1
    gaze = np.stack([record.labels["gaze"] for record in records])
    refiner: FourierRefiner | HistogramRefiner
    if kind == "fourier":
        refiner = FourierRefiner(FourierArchitecture(1, len(real), SIZE, (0.1, 0.1), camera=True))
    else:
        refiner = HistogramRefiner(HistogramArchitecture(1, len(real), camera=True))
    refiner.fit(0, reals)

    # Give each real image to a few random renders; half of the real images train the regression.
    rng = np.random.default_rng(1)
    examples = np.repeat(np.arange(len(real)), 4)
    chosen = rng.integers(0, len(renders), len(examples))
    draws = [int(example).to_bytes(8, "little") + rng.bytes(24) for example in examples]
    adapted = torch.cat(
        [refiner(renders[chosen[at : at + 256]], draws[at : at + 256]) for at in range(0, len(draws), 256)]
    )
    known = rng.permutation(len(real)) < len(real) // 2
    from_adapted = explained(np.hstack([shrunk(adapted), gaze[chosen]]), real.gaze[examples], known[examples])
    assert explained(shrunk(reals), real.gaze, known).min() > 0.5  # the regression can read gaze
    assert from_adapted.max() < 0.2
