"""A cache in the user's home for compiled networks and benchmark results of this machine.

The folder can be deleted at any time. If it cannot be written, nothing is cached and the work continues.
"""

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from refiner.core.environment import processor, versions
from refiner.core.errors import RefinerError
from refiner.core.files import content_digest, write_bytes

Result = TypeVar("Result")

log = logging.getLogger(__name__)

MAX_COMPILED_NETWORKS = 64
"""Number of compiled networks in the cache; older ones are deleted."""

_LIBRARIES = ("torch", "openvino", "onnx", "onnxruntime")

_CODE = ("models", "inference/backends")
"""Folders of this package whose code makes what is cached."""


def cache_folder() -> Path:
    """Return the cache folder of this package: ``$XDG_CACHE_HOME/simgan-refiner``, or the platform's default."""
    return platformdirs.user_cache_path("simgan-refiner")


def machine_key(*facts: Any) -> str:
    """Hash facts with the processor, the inference libraries' versions and our own code, to 16 hexadecimal digits."""
    libraries = {name: version for name, version in versions().items() if name in _LIBRARIES}
    return hashlib.sha256(json.dumps([*facts, processor(), libraries, code_digest()]).encode()).hexdigest()[:16]


@functools.cache
def code_digest() -> str:
    """Return a digest of the code that makes and runs networks: an edit that keeps the version changes it, too."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[2]
    for file in sorted(path for folder in _CODE for path in (package / folder).glob("*.py")):
        digest.update(f"{file.name} {content_digest(file)}\n".encode())
    return digest.hexdigest()[:16]


def write_cached(path: Path, data: bytes) -> None:
    """Write a file of the cache; only log if that fails."""
    try:
        write_bytes(path, data)
    except RefinerError as error:
        log.info("the cache was not written: %s", error)


def load_or_compile(key: str, compile_network: Callable[[], bytes], load: Callable[[bytes], Result]) -> Result:
    """Load a compiled network from the cache, or compile it and write it to the cache.

    A damaged cache file is compiled again.

    Args:
        key: name of the compiled network, see :func:`refiner.inference.backends.base.network_key`.
        compile_network: returns the compiled network as bytes; called only on a cache miss.
        load: makes a network from the bytes.
    """
    path = cache_folder() / "compiled" / key
    with contextlib.suppress(Exception):  # damaged bytes make each library raise an exception of its own
        return load(path.read_bytes())
    data = compile_network()
    write_cached(path, data)
    # Delete the oldest networks, so that the cache does not grow without end.
    with contextlib.suppress(OSError):
        for old in sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)[:-MAX_COMPILED_NETWORKS]:
            old.unlink()
    return load(data)
