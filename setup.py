"""The build step that pyproject.toml cannot describe: the recipes of configs/ become refiner/recipes in the wheel."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copy the recipes next to the package."""

    def run(self) -> None:
        """Build the package, then add the recipes; an editable install finds them in configs/."""
        super().run()
        if not self.editable_mode:
            recipes = Path(self.build_lib, "refiner", "recipes")
            recipes.mkdir(parents=True, exist_ok=True)
            for file in sorted(Path("configs").glob("*.yaml")):
                self.copy_file(str(file), str(recipes / file.name))


setup(cmdclass={"build_py": BuildWithRecipes})
