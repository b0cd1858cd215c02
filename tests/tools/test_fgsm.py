"""The FGSM probe: on a linear estimator, by hand; and as a program."""

import json
from pathlib import Path

import numpy as np
import torch
from click.testing import CliRunner

from refiner.gaze.config import GazeConfiguration
from refiner.gaze.training.train import train_estimator
from tools.measure.fgsm import main, uphill


def test_pixels_move_along_the_gradient_of_the_error() -> None:
    weights = torch.tensor([[1.0, -2.0, 0.5], [-1.0, 0.0, 3.0]])
    images, gaze = torch.tensor([0.2, 0.1, -0.3]).view(1, 1, 1, 3), torch.tensor([[0.5, -0.4]])
    found = uphill(lambda planes: planes.flatten(1) @ weights.T, images, gaze, None)
    error = weights @ images.flatten() - gaze[0]
    assert torch.equal(found.flatten(), (weights.T @ error).sign())


def test_the_program_tells_how_errors_rise(tiny_gaze: GazeConfiguration, gazes: Path, tmp_path: Path) -> None:
    for seed in range(2):
        run = tmp_path / "models" / f"raw-{seed}-transductive"
        train_estimator(tiny_gaze.model_copy(update={"seed": seed}), run, device="cpu")
    out = tmp_path / "fgsm.json"
    program = [str(tmp_path / "models"), "--data", str(gazes), "--out", str(out)]
    done = CliRunner().invoke(main, [*program, "--variants", "raw", "--levels", "4,16"])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())["errors"]["raw"]
    means = [found[step]["mean"] for step in ("0", "4", "16")]
    assert means == sorted(means)
    assert means[2] > means[0]
    assert np.isfinite([found["4"]["low"], found["4"]["high"]]).all()
    other = CliRunner().invoke(main, [*program, "--variants", "refined"])
    assert other.exit_code == 1
    assert "holds no model of refined" in other.stderr
