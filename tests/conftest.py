"""Fixtures of the whole suite: small non-square images, tiny configurations, and the real data."""

import os

# Before torch is imported: networks here are so small that a second thread would only wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import multiprocessing
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

import refiner
from refiner.config.training import TrainingConfiguration
from refiner.core.parallel.process_pool import begin_imports
from refiner.data.labels.tables import write_labels
from refiner.gaze.config import GazeConfiguration
from refiner.images.io import write_image
from refiner.metrics.two_sample import classify

LONGEST = ("test_wheel.py", "test_performance.py", "test_distributed.py", "test_evaluate.py", "test_loop.py")
"""Files that start first, so that no process is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order within each file stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What commands remember of this machine is not the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def installed_wheel() -> None:
    """Skips in a clone: tests/test_wheel.py runs these tests with an installed wheel."""
    if (Path(refiner.__file__).parents[1] / "pyproject.toml").exists():
        pytest.skip("tests/test_wheel.py runs this with an installed wheel")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real data sets, where REFINER_REAL_DATA says; skips without them."""
    path = os.environ.get("REFINER_REAL_DATA")
    if not path or not Path(path).is_dir():
        pytest.skip("REFINER_REAL_DATA names no folder of real data")
    return Path(path)


@pytest.fixture(scope="session")
def start_python() -> Callable[..., BaseProcess]:
    """Starts code as ``python -c`` does, but forks from a server that has imported torch: an import takes seconds."""
    begin_imports("refiner.commands", "refiner.training.train", "accelerate")

    def start(code: str, *, output: Path | None = None) -> BaseProcess:
        """Start code; ``output`` is a file for what it prints on both streams."""
        if output is not None:
            code = f"import os\nfor stream in 1, 2: os.dup2(os.open({str(output)!r}, 0o2101, 0o666), stream)\n{code}"
        process = multiprocessing.get_context("forkserver").Process(target=exec, args=(code, {}), daemon=True)
        process.start()
        return process

    return start


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
def synthetic(tmp_path: Path) -> Path:
    """Twenty small renders."""
    return _write_eyes(tmp_path / "synthetic", 20, seed=1, blur=False)


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Seventeen small photographs."""
    return _write_eyes(tmp_path / "real", 17, seed=2, blur=True)


@pytest.fixture
def quick_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations whose networks learn for a moment: for tests of what stands around them."""
    monkeypatch.setattr("refiner.evaluation.features.STEPS", 5)
    monkeypatch.setattr("refiner.evaluation.realism.classify", partial(classify, steps=5))


@pytest.fixture
def tiny(synthetic: Path, real: Path) -> TrainingConfiguration:
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
            "data": {"synthetic": synthetic, "real": real},
            "refiner": {"features": 4, "blocks": 1},
            "discriminator": {"width": 0.25},
            "pretraining": {"refiner_steps": 3, "discriminator_steps": 2},
        }
    )


def _write_gaze(folder: Path, count: int, *, seed: int) -> Path:
    """16x24 pictures of a dark disc where the gaze points, of eight subjects, with all that labels can say."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :24]
    labels = {}
    for number in range(count):
        gaze = rng.uniform(-0.4, 0.4, 2)
        disc = np.hypot(y - 7.5 + 12 * gaze[0], x - 11.5 + 20 * gaze[1]) < 3
        image = np.clip(170 - 110 * disc + rng.normal(0, 6, (16, 24)), 0, 255).astype(np.uint8)
        write_image(folder / f"{number:03d}.png", image)
        labels[f"{number:03d}.png"] = {
            "gaze": gaze,
            "head_pose": gaze / 2 + rng.normal(0, 0.02, 2),
            "subject": f"s{number % 8}",
            "day": f"day{number % 3}",
            "eye": "right" if number % 2 else "left",
            "P": str(15 * (number % 3 - 1)),
        }
    write_labels(folder / "labels.csv", labels)
    return folder


@pytest.fixture
def gazes(tmp_path: Path) -> Path:
    """Sixty labelled pictures."""
    return _write_gaze(tmp_path / "gazes", 60, seed=1)


@pytest.fixture
def other_gazes(tmp_path: Path) -> Path:
    """Forty others."""
    return _write_gaze(tmp_path / "other_gazes", 40, seed=2)


@pytest.fixture
def tiny_gaze(gazes: Path) -> GazeConfiguration:
    """A configuration that trains in a second."""
    return GazeConfiguration.model_validate(
        {
            "size": [16, 24],
            "network": "small",
            "batch_size": 6,
            "steps": 10,
            "ema_decay": 0.5,
            "precision": "fp32",
            "log_every": 3,
            "evaluate_every": 2,
            "checkpoint_every": 3,
            "data": {"train": [gazes], "held_out": 0.3},
            "augmentation": {"strong": 1.0},
        }
    )
