"""A cache in the user's home for compiled networks and benchmark results of this machine.

The folder can be deleted at any time. If it cannot be written, nothing is cached and the work continues.
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from refiner.core.environment import processor, versions
from refiner.core.errors import RefinerError
from refiner.core.files import write_bytes

Result = TypeVar("Result")

log = logging.getLogger(__name__)

MAX_COMPILED_NETWORKS = 64
"""Number of compiled networks in the cache; older ones are deleted."""

_LIBRARIES = ("torch", "openvino", "onnxruntime")


def cache_folder() -> Path:
    """Return the cache folder of this package: ``$XDG_CACHE_HOME/simgan-refiner``, or the platform's default."""
    return platformdirs.user_cache_path("simgan-refiner")


def machine_key(*facts: Any) -> str:
    """Hash facts together with the processor and the versions of the inference libraries, 16 hexadecimal digits."""
    libraries = {name: version for name, version in versions().items() if name in _LIBRARIES}
    return hashlib.sha256(json.dumps([*facts, processor(), libraries]).encode()).hexdigest()[:16]


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
