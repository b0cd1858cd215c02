"""Train the networks that ship with the package: python -m tools.build.pretrained [OUT] [--only refiner|estimator]

These are the demo refiner, for the simulated target camera, and the gaze estimator whose features ``refiner evaluate``
uses. Both are trained only on our own procedural images, so the files carry no other licence. Takes about ten minutes
on two cores; the same command resumes. Writes into ``refiner/pretrained``. With another estimator, the realism metrics
of ``refiner evaluate`` have other values, so train it only for a reason.
"""

import shutil
from pathlib import Path

import click

from refiner.commands import main as refiner_command
from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.evaluation.features import pretrained_estimator
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.training.train import train_estimator
from refiner.models.files.lookup import PRETRAINED
from refiner.training.train import train

CONFIGS = Path(__file__).parents[2] / "configs"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path), default=Path("runs/pretrained"))
@click.option("--only", type=click.Choice(("refiner", "estimator")), help="Train one of the two networks.")
def main(out: Path, only: str | None) -> None:
    """Render, train, and copy the files into the package."""
    data = {"synthetic": out / "synthetic.h5", "real": out / "real.h5"}
    _render(data["synthetic"], "--count", "8000", "--seed", "100")
    _render(data["real"], "--count", "4000", "--seed", "101", "--target-camera")
    PRETRAINED.mkdir(exist_ok=True)
    if only != "estimator":
        settings = [f"data.{name}={path}" for name, path in data.items()]
        refiner = read_configuration(CONFIGS / "eyes.yaml", TrainingConfiguration, overrides=settings)
        shutil.copyfile(train(refiner, out / "run"), PRETRAINED / "demo.refiner.safetensors")
    if only != "refiner":
        # Standardized, because it must work at any exposure.
        settings = [f"data.train=[{data['synthetic']}]", "equalize=false", "standardize=true"]
        estimator = read_configuration(CONFIGS / "gaze.yaml", GazeConfiguration, overrides=settings)
        shutil.copyfile(train_estimator(estimator, out / "estimator"), pretrained_estimator())


def _render(store: Path, *options: str) -> None:
    refiner_command(["render", str(store), *options], prog_name="refiner", standalone_mode=False)


if __name__ == "__main__":
    main()
