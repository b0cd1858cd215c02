"""Which folder may import which: those above it in the list, never those below."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "refiner"

LAYERS = [
    *("core", "config", "images", "data", "models", "losses", "metrics", "runs", "inference", "inspection", "training"),
    *("eyes", "hands", "objects", "gaze", "evaluation", "report", "benchmark", "demos", "commands"),
]

DATA_LAYERS = ["labels", "annotations", "drift", "folders", "store", "formats", "output"]
"""Folders within ``data/``; the modules beside them come last."""


def imported(file: Path) -> list[list[str]]:
    """Modules of ours that a file imports, anywhere in it, as parts of their names without ``refiner``."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return [name.split(".")[1:] for name in names if name.startswith("refiner.")]


def rank(parts: list[str]) -> tuple[int, int]:
    inner = len(DATA_LAYERS)
    if parts[0] == "data" and len(parts) > 1 and parts[1] in DATA_LAYERS:
        inner = DATA_LAYERS.index(parts[1])
    return LAYERS.index(parts[0]), inner


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("*/**/*.py")), ids=lambda f: f.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(file: Path) -> None:
    own = list(file.relative_to(PACKAGE).with_suffix("").parts)
    for other in imported(file):
        assert rank(other) <= rank(own), f"{'.'.join(own)} imports {'.'.join(other)}, which is above it"
