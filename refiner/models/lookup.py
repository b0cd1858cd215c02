"""Which refiner file is meant: by its path, by the folder of its run, or by the name of one that comes along.

Without the file being read, so that a command can say what is wrong with a name before it imports torch.
"""

from pathlib import Path

from refiner.core.errors import DataError

REFINER_FILE = "refiner.safetensors"
"""Name of the refiner file in a run folder."""

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""What comes with the package, trained on procedural eyes alone: ``NAME.refiner.safetensors``, refiners to try."""

_SUFFIX = ".refiner.safetensors"


def pretrained_refiners() -> dict[str, Path]:
    """Files of the refiners that come with the package, by name."""
    return {file.name.removesuffix(_SUFFIX): file for file in sorted(PRETRAINED.glob(f"*{_SUFFIX}"))}


def find_refiner(path: Path) -> Path:
    """The refiner file that is meant by a file, the folder of a run, or the name of a ready refiner.

    Raises:
        DataError: a folder without one.
    """
    if not path.exists():
        return pretrained_refiners().get(str(path), path)
    if path.is_dir():
        if not (path / REFINER_FILE).exists():
            raise DataError(f"{path}: holds no {REFINER_FILE}; expected a refiner file or the folder of a run")
        return path / REFINER_FILE
    return path


def is_refiner(path: Path) -> bool:
    """Whether :func:`find_refiner` finds one here, rather than images."""
    try:
        return find_refiner(path).suffix == ".safetensors"
    except DataError:
        return False
