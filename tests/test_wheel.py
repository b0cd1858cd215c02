"""An installed wheel outside the clone: recipes come along, and every command of README and docs runs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ["refiner", "configs", "datasets", "docs", "results", "tests", "tools"]
"""Folders of the source distribution; a clone may hold others, such as runs."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment with the wheel; dependencies are those of this one, and no network is asked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PARTS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith(".") and file.name != "uv.lock":
            shutil.copy(file, source)
    # The wheel is built from the source distribution, which must therefore be complete.
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    interpreter = folder / "venv" / "bin" / "python"
    install = [interpreter, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", wheel]
    subprocess.run(install, check=True, capture_output=True, text=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return interpreter


def run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_recipes_are_listed_and_found(python: Path, tmp_path: Path) -> None:
    where = run([str(python), "-c", "import refiner; print(refiner.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    command = str(python.with_name("refiner"))
    listed = run([command, "train", "--list"], tmp_path).splitlines()
    recipes = [file.stem for file in sorted((ROOT / "configs").glob("*.yaml")) if file.stem != "gaze"]
    assert [line.split()[0] for line in listed] == recipes
    assert run([command, "gaze", "train", "--list"], tmp_path).startswith("gaze ")
    assert "batch_size: 512" in run([command, "train", "paper", "--dry-run"], tmp_path)


def test_every_command_of_readme_and_docs_runs(python: Path, tmp_path: Path) -> None:
    """The tests of README and docs again, in a folder that has the pages but not the package."""
    (tmp_path / "tests").mkdir()
    for name in ("conftest.py", "test_readme.py", "test_docs.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    for name in ("docs", "datasets", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "README.md", tmp_path)
    chosen = ["-k", "commands or guide", "tests/test_readme.py", "tests/test_docs.py"]
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-o", "pythonpath=."]
    printed = run([str(python), "-m", "pytest", *options, *chosen], tmp_path)
    assert "3 passed" in printed  # the README, the guide, and the other pages
    assert "skipped" not in printed
