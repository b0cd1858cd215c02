"""Fixtures of the whole suite: small non-square images, tiny configurations, and where the real data lie."""

import os
from pathlib import Path

import numpy as np
import pytest

from refiner.configuration import TrainingConfiguration
from refiner.image_files import write_image

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real data sets, where REFINER_REAL_DATA says; skips without them."""
    path = os.environ.get("REFINER_REAL_DATA")
    if not path or not Path(path).is_dir():
        pytest.skip("REFINER_REAL_DATA names no folder of real data")
    return Path(path)


def _write_eyes(folder: Path, count: int, *, seed: int, blur: bool) -> Path:
    """8x12 pictures of a dark disc on a ramp: enough structure to train on, different in both domains."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:8, :12]
    for number in range(count):
        centre = rng.uniform((2, 3), (6, 9))
        disc = np.hypot(y - centre[0], x - centre[1]) < 2.5
        image = 120 + 8 * x - 90 * disc + rng.normal(0, 12 if blur else 2, (8, 12))
        write_image(folder / f"{number:03d}.png", np.clip(image, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    """Twenty small renders."""
    return _write_eyes(tmp_path / "renders", 20, seed=1, blur=False)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Seventeen small photographs."""
    return _write_eyes(tmp_path / "photographs", 17, seed=2, blur=True)


@pytest.fixture
def tiny(renders: Path, photographs: Path) -> TrainingConfiguration:
    """A configuration that trains all three phases in a second."""
    return TrainingConfiguration.model_validate(
        {
            "size": [8, 12],
            "batch_size": 6,
            "steps": 6,
            "history_size": 8,
            "log_every": 2,
            "sample_every": 4,
            "checkpoint_every": 3,
            "ema_decay": 0.5,
            "precision": "fp32",
            "data": {"renders": renders, "photographs": photographs},
            "refiner": {"features": 4, "blocks": 1},
            "discriminator": {"width": 0.25},
            "pretraining": {"refiner_steps": 3, "discriminator_steps": 2},
        }
    )
