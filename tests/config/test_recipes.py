"""Every file in configs/ loads, builds its networks, and two of them train."""

from collections import deque
from pathlib import Path

import pytest
import torch
import yaml

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.files import read_json_lines
from refiner.demos.eyes import RECIPE, SHORT
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.training.learner import build_network
from refiner.losses.self_regularization import self_regularization_loss
from refiner.training.methods.build import build_networks, condition_planes
from refiner.training.train import train

FOLDER = Path(__file__).parents[2] / "configs"

CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if path.stem != "gaze")


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_loads_and_builds(file: Path) -> None:
    configuration = read_configuration(file, TrainingConfiguration)
    refiner, discriminator = build_networks(configuration)
    images = torch.zeros(1, configuration.channels, *configuration.size)
    assert refiner(images).shape == images.shape
    inputs = torch.zeros(1, configuration.channels + condition_planes(configuration), *configuration.size)
    assert discriminator(inputs).shape[1] == 1


def test_gaze_configuration_loads_and_builds() -> None:
    configuration = read_configuration(FOLDER / "gaze.yaml", GazeConfiguration)
    assert build_network(configuration)(torch.zeros(2, 1, *configuration.size)).shape == (2, 2)


def test_paper_s_networks_and_conversion() -> None:
    configuration = read_configuration(CONFIGS[0].parent / "paper.yaml", TrainingConfiguration)
    counts = [sum(weights.numel() for weights in network.parameters()) for network in build_networks(configuration)]
    assert counts == [296_129, 75_906]
    patches, pixels = 9 * 14, 35 * 55
    assert configuration.discriminator_optimizer.learning_rate == pytest.approx(0.001 * patches)
    assert configuration.self_regularization_weight == pytest.approx(0.5 * pixels / patches, abs=0.01)


def test_paper_s_pretraining_approaches_the_identity() -> None:
    """At its sums' learning rate the first step drives every pixel to the same end, whence no gradient leads back."""
    configuration = read_configuration(CONFIGS[0].parent / "paper.yaml", TrainingConfiguration)
    torch.manual_seed(0)
    refiner, _ = build_networks(configuration)
    optimizer = torch.optim.SGD(refiner.parameters(), configuration.refiner_optimizer.learning_rate)
    images = torch.linspace(-0.8, 0.8, 8 * 9 * 16)[torch.randperm(8 * 9 * 16)].reshape(8, 1, 9, 16)
    losses = []
    for _ in range(40):
        losses.append(self_regularization_loss(refiner(images), images))
        optimizer.zero_grad()
        (configuration.self_regularization_weight * losses[-1]).backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2


def test_demo_recipe_is_the_demo_s() -> None:
    assert yaml.safe_load((CONFIGS[0].parent / "demo.yaml").read_text()) == {**RECIPE, "steps": SHORT.training_steps}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_trains_twenty_steps(file: Path, synthetic: Path, real: Path, tmp_path: Path) -> None:
    few = ["steps=14", "pretraining.refiner_steps=3", "pretraining.discriminator_steps=3", "batch_size=4"]
    small = ["size=[16, 24]", "refiner.features=8", "discriminator.width=0.25", "data.preflight=skip", "score_every=0"]
    overrides = [f"data.synthetic={synthetic}", f"data.real={real}", *small, *few]
    configuration = read_configuration(file, TrainingConfiguration, overrides=overrides)
    run = tmp_path / "run"
    assert train(configuration, run, device="cpu").exists()
    if configuration.fits_statistics:
        return
    (last,) = deque(read_json_lines(run / "metrics.jsonl"), maxlen=1)
    assert last["step"] == 20
    assert last["adversarial"] > 0
