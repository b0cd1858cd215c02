"""Refiners that others share: one file of a repository on the Hugging Face hub, kept in that library's cache."""

import re
from pathlib import Path

from refiner.core.errors import DataError, missing_extra

PREFIX = "hf://"

_ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<file>.+\.safetensors))?")

_FILE = "refiner.safetensors"


def is_address(text: str) -> bool:
    """Whether this names a repository rather than a path."""
    return text.startswith(PREFIX)


def fetch_refiner(address: str) -> Path:
    """The refiner file of a repository: downloaded once, and taken from the cache where the hub cannot be reached.

    Args:
        address: ``hf://OWNER/NAME``, with ``@REVISION`` (a branch, a tag or a commit) and ``/FILE`` where they are not
            the main branch and ``refiner.safetensors``.

    Raises:
        DataError: it is no such address, or there is no such file, or it can be had neither here nor there.
        DeviceError: the extra ``hub`` is not installed.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise DataError(f"{address}: is no address on the hub; expected hf://OWNER/NAME, or hf://OWNER/NAME@REVISION")
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise missing_extra("hub") from error
    file = found["file"] or _FILE
    try:
        return Path(huggingface_hub.hf_hub_download(found["repository"], file, revision=found["revision"]))
    except LocalEntryNotFoundError as error:
        raise DataError(f"{address}: is not in the cache, and the hub cannot be reached; try again online") from error
    except EntryNotFoundError as error:
        raise DataError(f"{address}: holds no {file}; name the file, as in {address}/NAME.safetensors") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{address}: cannot be downloaded ({reason}); check the name, and the access to it") from error
