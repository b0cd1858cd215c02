"""What is installed, what is imported when, and which module may import which."""

import ast
import importlib
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import refiner

ROOT = Path(__file__).parent.parent

# Rank of each module: a module imports only from lower ranks (STYLE: data flows one way).
RANKS = {
    0: [
        *(
            "errors",
            "architecture",
            "objectives",
            "motion",
            "history",
            "randomness",
            "monitors",
            "interruption",
            "gaze.angles",
        ),
        *("blurring", "drift", "tiling", "shards", "store_names"),
    ],
    1: [
        "files",
        "hub",
        "networks",
        "openvino_engine",
        "refiner_names",
        "gaze.accuracy",
        "hardware",
        "image_headers",
        "eyes.parameters",
        "workers",
        "ray_engine",
        "memory",
        "losses",
        "discriminators",
        "processes",
        "network_sections",
        "discriminator_augmentation",
    ],
    2: [
        "image_files",
        "plain_network",
        "configuration",
        "configuration_files",
        "refiner_files",
        "checkpoints",
        "eyes",
        "engines",
    ],
    3: ["images", "records", "exporting", "artefacts", "named_transforms"],
    3.5: ["tables"],
    4: ["columns", "label_geometry", "runs", "eyes.camera", "eyes.calibration", "outputs", "backends"],
    5: ["store", "augmentation", "label_regions"],
    6: ["formats", "parts", "label_drift"],
    7: ["inspection", "targets", "tally", "splits", "data"],
    8: ["cards", "eyes.writing", "conversion", "preflight", "regression", "refinement"],
    8.5: ["hands.skeleton", "hands.sensor"],
    9: [
        "transforms",
        "gaze",
        "store_refinement",
        "file_refinement",
        "backend_choice",
    ],
    10: ["hands.rendering", "hands.estimation", "folder_refinement", "consistency", "evaluation"],
    11: ["batch_refinement", "materials", "players", "report", "scores"],
    12: ["game"],
    13: ["cycle", "contrast"],
    14: ["rivals"],
    15: ["training", "benchmark_work"],
    11.5: ["hands"],
    16: ["demonstration", "benchmarking", "profiling"],
    17: ["hands.demonstration"],
    18: ["commands"],
    19: ["__main__", "__init__"],
}


def rank(module: str) -> int:
    """Of ``a.b``: that of the longest listed prefix."""
    table = {name: number for number, names in RANKS.items() for name in names}
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in table:
            return table[".".join(parts[:length])]
    raise AssertionError(f"refiner.{module} has no rank: say in tests/test_packaging.py what it may import")


def imports(file: Path) -> list[str]:
    """Modules of ours that a file imports when it is loaded, without ``refiner.``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    return [name.removeprefix("refiner.") for name in found if name.startswith("refiner.")]


@pytest.mark.parametrize("file", sorted((ROOT / "refiner").rglob("*.py")), ids=lambda f: f.relative_to(ROOT).as_posix())
def test_imports_point_one_way(file: Path) -> None:
    module = ".".join(file.relative_to(ROOT / "refiner").with_suffix("").parts).removesuffix(".__init__")
    for imported in imports(file):
        same_package = "." in module and imported.split(".")[0] == module.split(".")[0]
        own_package = module == imported.split(".")[0]
        assert same_package or own_package or rank(imported) < rank(module), f"{module} imports {imported}"


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


@pytest.mark.parametrize("module", ["refinement", "training", "conversion", "eyes.rendering"])
def test_albumentations_stays_out(module: str) -> None:
    code = f"import sys, refiner.{module}; assert 'albumentations' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", ["conversion", "batch_refinement", "file_refinement", "store_refinement"])
def test_torch_stays_out(module: str) -> None:
    """It takes seconds; what computes is imported when it is opened."""
    code = f"import sys, refiner.{module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


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
    assert Path("ready/stand-in.refiner.safetensors") in others
    assert [path for path in others if not any(path.match(pattern) for pattern in patterns)] == []
