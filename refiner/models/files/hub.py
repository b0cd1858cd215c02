"""Download of refiner files from the Hugging Face hub, and upload, through the ``huggingface_hub`` library."""

import re
from pathlib import Path
from typing import Any

from refiner.core.errors import DataError, OutputError, WrongInputError, missing_extra
from refiner.models.files.lookup import REFINER_FILE

PREFIX = "hf://"
"""Beginning of a hub address."""

_ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<file>.+\.safetensors))?")


def is_address(text: str) -> bool:
    """Check whether a text is a hub address rather than a path."""
    return text.startswith(PREFIX)


def is_repository(text: str) -> bool:
    """Check whether a text has the form of a repository, ``OWNER/NAME``; a path can have it, too."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", text) is not None


def fetch_refiner(address: str, **options: Any) -> Path:
    """Return the local path of a refiner file on the hub, downloading the file if necessary.

    A file is downloaded once. If the hub cannot be reached, the cached file is used.

    Args:
        address: ``hf://OWNER/NAME``. Append ``@REVISION`` for a branch, tag or commit other than the main branch, and
            ``/FILE`` for a file other than ``refiner.safetensors``.
        options: options of the library's ``hf_hub_download``, such as ``token``; its ``revision`` comes after the one
            of the address.

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
        options["revision"] = found["revision"] or options.get("revision")
        return Path(huggingface_hub.hf_hub_download(found["repository"], file, **options))
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


def upload_folder(folder: Path, repository: str, *, private: bool | None, token: str | None, **options: Any) -> str:
    """Upload a folder to a model repository on the hub, in one commit; the repository is made if it does not exist.

    Args:
        folder: the folder.
        repository: ``OWNER/NAME``; ``NAME`` is a repository of the user.
        private: whether a new repository is private; None is the default of the owner.
        token: access token; None takes the one of ``hf auth login``.
        options: options of the library's ``upload_folder``, such as ``commit_message``.

    Returns:
        Address of the commit.

    Raises:
        WrongInputError: the name is none of a repository.
        OutputError: the hub refuses the upload, or cannot be reached.
        DeviceError: the extra ``hub`` is not installed.
    """
    if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", repository):
        raise WrongInputError(f"{repository} is not the name of a repository on the hub; expected OWNER/NAME")
    try:
        import huggingface_hub
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # that of the library's HTTP client
    except ImportError as error:
        raise missing_extra("hub") from error
    api = huggingface_hub.HfApi(token=token)
    try:
        made = api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=made.repo_id, repo_type="model", folder_path=folder, **options).commit_url)
    except (HTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OutputError(
            f"{repository} cannot be written on the hub ({reason}); check the name, and log in with hf auth login"
        ) from error
