"""What is installed, and what is imported when."""

import importlib
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import refiner

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_there_and_documented() -> None:
    for name in refiner.__all__:
        assert getattr(refiner, name).__doc__, name
    assert sorted(refiner.__all__) == refiner.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = refiner.nothing


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, refiner; print(sorted({'torch', 'cv2', 'numpy', 'click', 'albumentations'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def run_python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_albumentations_stays_out() -> None:
    imports = "refiner.inference.refiner, refiner.training.loop, refiner.data.convert, refiner.eyes.rendering"
    run_python(f"import sys, {imports}; assert 'albumentations' not in sys.modules")


def test_torch_stays_out() -> None:
    """It takes seconds; what computes is imported when it is opened."""
    jobs = ("refine", "folder", "folder_worker", "store_worker")
    names = ["data.convert", "inference.backends.registry", *(f"inference.jobs.{name}" for name in jobs)]
    imports = ", ".join(f"refiner.{name}" for name in names)
    run_python(f"import sys, {imports}; assert 'torch' not in sys.modules")


def test_entry_point_and_version() -> None:
    (entry,) = [e for e in importlib.metadata.entry_points(group="console_scripts") if e.name == "refiner"]
    assert entry.load() is importlib.import_module("refiner.commands").main
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert importlib.metadata.version("simgan-refiner") == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_only_the_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["refiner", "refiner.*"]
    for folder in ("datasets", "tools", "configs", "tests"):
        assert not list((ROOT / folder).rglob("__init__.py"))


def test_both_builds_of_opencv_are_one_version() -> None:
    """A plain pip install gets both, into one folder."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    versions = {entry.partition("==")[2] for entry in dependencies if entry.startswith("opencv-python")}
    assert len(versions) == 1
    assert "" not in versions


def test_what_is_no_code_is_installed_too() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    patterns = ["py.typed", *settings["package-data"]["refiner"]]  # setuptools takes py.typed by itself
    files = [path.relative_to(ROOT / "refiner") for path in (ROOT / "refiner").rglob("*") if path.is_file()]
    others = [path for path in files if path.suffix not in (".py", ".pyc")]
    assert Path("pretrained/demo.refiner.safetensors") in others
    assert [path for path in others if not any(path.match(pattern) for pattern in patterns)] == []
