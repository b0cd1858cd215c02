"""Recipes: the configurations that ship with the package, found by name.

Their source is the folder ``configs/`` of the repository. The build copies it into the wheel as ``refiner/recipes``.
"""

from pathlib import Path
from typing import Literal

from refiner.core.errors import ConfigurationError

Kind = Literal["train", "gaze"]
"""``train``: recipes of a refiner; ``gaze``: recipes of a gaze estimator, whose names begin with ``gaze``."""

_PACKAGE = Path(__file__).parents[1]

FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parent / "configs")
"""Folder of the recipes in an installed wheel, and in a clone."""


def list_recipes(kind: Kind) -> dict[str, str]:
    """Return the name of each recipe with its one-line description, the first line of its file."""
    return {name: _description(file) for name, file in _files(kind).items()}


def find_recipe(name_or_path: str, kind: Kind) -> Path:
    """Return the file of a recipe.

    Args:
        name_or_path: name of a recipe, or path of a YAML file.
        kind: kind of the recipe.

    Raises:
        ConfigurationError: there is neither such a recipe nor such a file.
    """
    recipes, path = _files(kind), Path(name_or_path)
    if name_or_path in recipes:
        return recipes[name_or_path]
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise ConfigurationError(f"{path} does not exist; name a YAML file, or a recipe: {', '.join(recipes)}")
    other: Kind = "gaze" if kind == "train" else "train"
    if name_or_path in _files(other):
        command = "refiner gaze train" if other == "gaze" else "refiner train"
        raise ConfigurationError(f"{name_or_path} is a recipe of {command}; name one of {', '.join(recipes)}")
    raise ConfigurationError(f"{name_or_path} is no recipe; name one of {', '.join(recipes)}, or a YAML file")


def _files(kind: Kind) -> dict[str, Path]:
    folder = next((folder for folder in FOLDERS if folder.is_dir()), FOLDERS[0])
    return {
        file.stem: file for file in sorted(folder.glob("*.yaml")) if file.stem.startswith("gaze") == (kind == "gaze")
    }


def _description(file: Path) -> str:
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
