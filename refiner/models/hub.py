"""Download of refiner files from the Hugging Face hub, through the cache of the ``huggingface_hub`` library."""

import re
from pathlib import Path

from refiner.core.errors import DataError, WrongInputError, missing_extra
from refiner.models.lookup import REFINER_FILE

PREFIX = "hf://"
"""Beginning of a hub address."""

_ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<file>.+\.safetensors))?")


def is_address(text: str) -> bool:
    """Check whether a text is a hub address rather than a path."""
    return text.startswith(PREFIX)


def fetch_refiner(address: str) -> Path:
    """Return the local path of a refiner file on the hub, downloading the file if necessary.

    A file is downloaded once. If the hub cannot be reached, the cached file is used.

    Args:
        address: ``hf://OWNER/NAME``. Append ``@REVISION`` for a branch, tag or commit other than the main branch, and
            ``/FILE`` for a file other than ``refiner.safetensors``.

    Raises:
        DataError: the address is invalid, the repository holds no such file, or the file can neither be downloaded nor
            found in the cache.
        DeviceError: the extra ``hub`` is not installed.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise WrongInputError(f"{address} is not a hub address; expected hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise missing_extra("hub") from error
    # Download the file, or take it from the cache.
    file = found["file"] or REFINER_FILE
    try:
        return Path(huggingface_hub.hf_hub_download(found["repository"], file, revision=found["revision"]))
    except LocalEntryNotFoundError as error:
        raise DataError(f"{address} is not in the cache, and the hub cannot be reached; try again online") from error
    except EntryNotFoundError as error:
        repository = address.removesuffix(f"/{file}")
        raise WrongInputError(
            f"{repository} holds no {file}; name another file, as in {repository}/NAME.safetensors"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{address} cannot be downloaded ({reason}); check the name and your access rights") from error
