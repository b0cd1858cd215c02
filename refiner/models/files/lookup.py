"""Lookup of a refiner file by its path, its run folder, or the name of a pretrained refiner.

The lookup does not read the file, so that a command can report a wrong name before it imports torch.
"""

from pathlib import Path

from refiner.core.errors import WrongInputError
from refiner.core.path_kinds import REFINER_RUN, path_kind

REFINER_FILE = "refiner.safetensors"
"""Name of the refiner file in a run folder."""

CONFIG_FILE = "config.yaml"
"""Name of the resolved configuration in a run folder."""

PRETRAINED = Path(__file__).parents[2] / "pretrained"
"""Folder of the pretrained networks that ship with the package; they were trained only on procedural eyes.

Refiners are named ``NAME.refiner.safetensors``, and ``--refiner NAME`` selects one, for example ``--refiner demo``.
"""

_SUFFIX = ".refiner.safetensors"


def pretrained_refiners() -> dict[str, Path]:
    """Return the files of the refiners that ship with the package, by name."""
    return {file.name.removesuffix(_SUFFIX): file for file in sorted(PRETRAINED.glob(f"*{_SUFFIX}"))}


def find_refiner(path: Path) -> Path:
    """Return the refiner file for a path or name.

    Args:
        path: a refiner file, a run folder, or the name of a pretrained refiner such as ``demo``. A file or a run folder
            takes precedence over a name. A folder without a refiner file does not: ``refiner demo`` makes one.

    Returns:
        Path of the refiner file; ``path`` itself if nothing of that name exists.

    Raises:
        DataError: the folder holds no refiner file, and no pretrained refiner has its name.
    """
    # A file or a run folder on disk comes before a pretrained refiner of that name.
    if path.is_dir() and (path / REFINER_FILE).exists():
        return path / REFINER_FILE
    if path.exists() and not path.is_dir():
        return path
    pretrained = pretrained_refiners().get(str(path))
    if pretrained is not None:
        return pretrained
    if path.is_dir():
        kind = path_kind(path)
        why = f"holds no {REFINER_FILE} yet" if kind == REFINER_RUN else f"is {kind}, not a refiner"
        raise WrongInputError(f"{path} {why}; name the run folder of a refiner, or a refiner file (.safetensors)")
    return path


def is_refiner(path: Path) -> bool:
    """Check whether a path that may also hold images is a refiner: a run folder, a refiner file, or a pretrained one.

    A folder without a refiner file holds images, whatever its name.
    """
    if path.is_dir():
        return (path / REFINER_FILE).exists()
    return find_refiner(path).suffix == ".safetensors"
