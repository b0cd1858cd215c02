"""What the mutations share: random choices among files and values, and the canary."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CANARY = "FUZZ_CANARY"
"""Environment variable: a file that exists only if something that was read has been run."""

Random = np.random.Generator
Mutation = Callable[[Path, Random], list[str]]


def payload() -> str:
    """An expression that would make the canary."""
    return f"__import__('os').system('touch {os.environ[CANARY]}')"


def files_of(root: Path, *suffixes: str) -> list[str]:
    """Regular files below a folder by their suffixes, sorted; all of them without suffixes."""
    names = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path.relative_to(root).as_posix() for path in names if not suffixes or path.suffix in suffixes]


def is_other(path: Path) -> bool:
    """Whether something is there that is no regular file: writing to it could wait for ever, or go elsewhere."""
    return os.path.lexists(path) and (path.is_symlink() or not path.is_file())


def pick(options: Any, rng: Random) -> Any:
    """One of a sequence, of any types."""
    return options[int(rng.integers(len(options)))]


def pick_weighted(options: list[str], weights: Any, rng: Random) -> str:
    """One of some options, by their weights."""
    return options[int(np.searchsorted(np.cumsum(weights), rng.random() * np.sum(weights), side="right"))]
