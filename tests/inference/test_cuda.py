"""CUDA gives the results of the CPU, except for rounding; skipped without a CUDA device."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.data.labels.tables import write_labels
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.prediction import GazeEstimator
from refiner.gaze.training.train import train_estimator
from refiner.images.io import read_image, write_image
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.inference.refiner import Refiner
from refiner.models.files.lookup import pretrained_refiners
from refiner.models.files.refiner_file import RefinerFile, load_refiner
from refiner.models.refiner import RefinerNetwork
from refiner.training.train import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes")
    labels = {}
    for record in rendered_records(EyeParameters(), 48, seed=3, size=(36, 60)):
        write_image(folder / record.id, record.image)
        labels[record.id] = record.labels
    write_labels(folder / "labels.csv", labels)
    return folder


def refiner_configuration(eyes: Path, steps: int) -> TrainingConfiguration:
    return TrainingConfiguration.model_validate(
        {
            "data": {"synthetic": str(eyes), "real": str(eyes), "preflight": "skip"},
            "size": [36, 60],
            "steps": steps,
            "batch_size": 8,
            "history_size": 16,
            "checkpoint_every": 4,
            "motion_weight": 1.0,
            "ema_decay": 0.9,
            "discriminator": {"width": 0.25, "augmentation": {"blur": 1.8}},
            "refiner": {"features": 8, "blocks": 2, "unshuffle": 2, "output": "residual", "smooth_change": True},
            "pretraining": {"refiner_steps": 0, "discriminator_steps": 2},
        }
    )


def test_training_learns_and_its_file_is_for_any_device(eyes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    file = train(refiner_configuration(eyes, 8), run, device="cuda")
    assert json.loads((run / "environment.json").read_text())["device"] == "cuda"
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(value) for row in metrics for value in row.values() if isinstance(value, float))
    there, here = (Refiner.load(file, device=device) for device in ("cuda", "cpu"))
    assert np.abs(load_refiner(file).weights["head.weight"]).sum() > 0  # it starts at 0
    images = list(np.random.default_rng(0).integers(0, 256, (5, 36, 60), dtype=np.uint8))
    for one, other in zip(there(images), here(images), strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 2


@pytest.mark.parametrize("backend", ["torch", "torch-compiled"])
@pytest.mark.parametrize("shape", [(35, 55), (36, 60), (61, 40)])
def test_refines_as_the_processor_does_but_for_rounding(shape: tuple[int, int], backend: str) -> None:
    torch.manual_seed(1)
    refiner = RefinerFile.of(RefinerNetwork())
    images = torch.rand(700, 1, *shape) * 2 - 1  # more than what is computed at once
    expected = Refiner(refiner, device="cpu")(images)
    found = Refiner(refiner, device="cuda", backend=backend)(images)
    assert found.device.type == "cpu"
    assert (found - expected).abs().mean() < 0.5 / 127.5  # half a grey level
    assert (found - expected).abs().max() < 4 / 127.5


def test_a_folder_refined_by_worker_processes_on_the_gpu_is_the_same(eyes: Path, tmp_path: Path) -> None:
    demo = pretrained_refiners()["demo"]
    for workers in (1, 2):
        refine_path(eyes, tmp_path / str(workers), demo, device="cuda", workers=workers)
    for one in (tmp_path / "1").glob("*.png"):
        assert one.read_bytes() == (tmp_path / "2" / one.name).read_bytes()


def test_a_folder_is_finished_by_the_device_that_began_it(eyes: Path, tmp_path: Path) -> None:
    demo = pretrained_refiners()["demo"]
    count = len(list(eyes.glob("*.png")))
    assert refine_path(eyes, tmp_path / "out", demo, device="cuda") == Summary(count, 0, 0)
    assert refine_path(eyes, tmp_path / "out", demo, device="cuda") == Summary(0, count, 0)
    assert refine_path(eyes, tmp_path / "here", demo, device="cpu") == Summary(count, 0, 0)
    for name in ("000000.png", "000047.png"):
        one, other = (read_image(tmp_path / folder / name).astype(int) for folder in ("out", "here"))
        assert np.abs(one - other).max() <= 2
        assert np.abs(one - other).mean() < 0.5


def test_estimator_learns_on_the_device(eyes: Path, tmp_path: Path) -> None:
    settings = {"data": {"train": [str(eyes)]}, "size": [36, 60], "steps": 20, "batch_size": 8, "head_pose": "yaw"}
    configuration = GazeConfiguration.model_validate(settings)
    file = train_estimator(configuration, tmp_path / "run", device="cuda")
    images = torch.rand(3, 1, 36, 60) * 2 - 1
    pose = np.zeros((3, 2))
    there, here = (GazeEstimator.load(file, device=device)(images, pose) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(there, here, atol=2e-2)
