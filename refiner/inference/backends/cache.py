"""What was found out or compiled for this machine, in the user's cache: what comes later begins at once.

A folder that may be deleted at any time; where it cannot be written, nothing is kept, and that is all.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from refiner.core.environment import processor, versions
from refiner.core.errors import RefinerError
from refiner.core.files import write_bytes

Result = TypeVar("Result")

log = logging.getLogger(__name__)

KEPT = 64
"""Compiled networks that are kept, the newest."""

_ENGINES = ("torch", "openvino", "onnxruntime")


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/simgan-refiner``, or below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "simgan-refiner"


def machine_key(*facts: Any) -> str:
    """A short name for facts together with what speed and compiled code depend on: processor and engines."""
    engines = {name: version for name, version in versions().items() if name in _ENGINES}
    return hashlib.sha256(json.dumps([*facts, processor(), engines]).encode()).hexdigest()[:16]


def keep(path: Path, data: bytes) -> None:
    """Write a file of the cache, if it can be."""
    try:
        write_bytes(path, data)
    except RefinerError as error:
        log.info("not kept in the cache: %s", error)


def from_compiled(key: str, make: Callable[[], bytes], use: Callable[[bytes], Result]) -> Result:
    """What ``use`` makes of a compiled network of that key, which is made where none is kept, or a damaged one."""
    path = cache_folder() / "compiled" / key
    with contextlib.suppress(Exception):  # what an engine raises of damaged bytes is no common kind
        return use(path.read_bytes())
    data = make()
    keep(path, data)
    with contextlib.suppress(OSError):
        for old in sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)[:-KEPT]:
            old.unlink()
    return use(data)
