"""Train the refiner that comes with the package: python tools/ready.py [OUT].

Our own renders, and photographs of our own stand-in camera, so that the file carries nobody's licence. Some ten
minutes on two cores; the same command again goes on. ``refiner/ready`` holds what this wrote.
"""

import shutil
from pathlib import Path

import click

from refiner.commands import main as refiner_command
from refiner.configuration import TrainingConfiguration, read_configuration
from refiner.refiner_files import READY, REFINER_FILE
from refiner.training import train

RECIPE = Path(__file__).parent.parent / "configs/eyes.yaml"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path), default=Path("runs/ready"))
def main(out: Path) -> None:
    """Render, train, and put the refiner where the package finds it."""
    data = {"renders": out / "renders.h5", "photographs": out / "photographs.h5"}
    _render(data["renders"], "--count", "8000", "--seed", "100")
    _render(data["photographs"], "--count", "4000", "--seed", "101", "--stand-in")
    settings = [f"data.{name}={path}" for name, path in data.items()]
    train(read_configuration(RECIPE, TrainingConfiguration, overrides=settings), out / "run")
    READY.mkdir(exist_ok=True)
    shutil.copyfile(out / "run" / REFINER_FILE, READY / "stand-in.refiner.safetensors")


def _render(store: Path, *options: str) -> None:
    refiner_command(["render", str(store), *options], prog_name="refiner", standalone_mode=False)


if __name__ == "__main__":
    main()
