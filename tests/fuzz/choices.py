"""Shared by the mutations: random choices among files and values, and the canary."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CANARY = "FUZZ_CANARY"
"""Environment variable with the path of a file that exists only if something that was read has been executed."""

Random = np.random.Generator
Mutation = Callable[[Path, Random], list[str]]


def payload() -> str:
    """Return an expression that would create the canary."""
    return f"__import__('os').system('touch {os.environ[CANARY]}')"


def files_of(root: Path, *suffixes: str) -> list[str]:
    """List the regular files below a folder with some suffixes; all files without suffixes."""
    names = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path.relative_to(root).as_posix() for path in names if not suffixes or path.suffix in suffixes]


def is_other(path: Path) -> bool:
    """Check whether a path exists and is not a regular file, so that writing to it could block or go elsewhere."""
    return os.path.lexists(path) and (path.is_symlink() or not path.is_file())


def pick(options: Any, rng: Random) -> Any:
    """Choose one element of a sequence."""
    return options[int(rng.integers(len(options)))]


def pick_weighted(options: list[str], weights: Any, rng: Random) -> str:
    """Choose one option by weight."""
    return options[int(np.searchsorted(np.cumsum(weights), rng.random() * np.sum(weights), side="right"))]
