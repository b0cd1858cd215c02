"""Methods of a refiner by which users of the Hugging Face hub know models: load, save and upload.

What writes a model card is imported on use, since refining needs none of it.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from refiner.core.errors import WrongOutputError
from refiner.models.files.hub import fetch_refiner, is_address, is_repository, upload_folder
from refiner.models.files.lookup import REFINER_FILE

if TYPE_CHECKING:
    from refiner.models.files.refiner_file import RefinerFile


class HubMethods:
    """Methods of :class:`refiner.inference.refiner.Refiner` in the words of the Hugging Face hub."""

    _file: "RefinerFile"
    _run: Path | None

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto", backend: str = "torch", version: int = 0) -> Self:
        """Load a refiner; see :meth:`refiner.inference.refiner.Refiner.load`."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Path | str,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: Path | str | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        device: str = "auto",
        backend: str = "torch",
        version: int = 0,
    ) -> Self:
        """Load a refiner from a repository on the Hugging Face hub, or from a folder.

        Args:
            pretrained_model_name_or_path: a repository, ``OWNER/NAME``; or anything that :meth:`load` takes. A folder
                or a file of that name comes first.
            revision: branch, tag or commit; None takes the main branch.
            token: access token for a private repository; None takes the one of ``hf auth login``.
            cache_dir: folder of the cache; None takes that of the library.
            force_download: download the file even if it is in the cache.
            local_files_only: use the cache only.
            device: ``auto``, ``cpu`` or ``cuda``.
            backend: a name in :data:`refiner.inference.backends.registry.BACKENDS`.
            version: number of the refined version of each image, as in :meth:`load`.

        Raises:
            DataError: the refiner is missing or damaged, or cannot be downloaded.
            DeviceError: the device or the backend is not available, or the extra ``hub`` is not installed.
            UsageError: ``version`` is not 0, but the refiner draws nothing.
        """
        place = str(pretrained_model_name_or_path)
        if not Path(place).exists() and (is_address(place) or is_repository(place)):
            place = str(
                fetch_refiner(
                    place if is_address(place) else f"hf://{place}",
                    revision=revision,
                    token=token,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                )
            )
        return cls.load(place, device=device, backend=backend, version=version)

    def save_pretrained(
        self,
        save_directory: Path | str,
        *,
        license: str,
        license_name: str | None = None,
        license_link: str | None = None,
        datasets: Sequence[str] = (),
        verdict: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push_to_hub_options: Any,
    ) -> str | None:
        """Write ``refiner.safetensors`` and a model card into a folder, and upload them if ``push_to_hub`` is set.

        Args:
            save_directory: the folder.
            license: licence of the weights, by its name on the hub, such as ``cc-by-nc-4.0``, or ``other``. Weights
                that were trained on data for research only cannot have a free licence.
            license_name: name of an ``other`` licence.
            license_link: address of an ``other`` licence.
            datasets: names of data sets on the hub that the refiner was trained on.
            verdict: output of ``refiner evaluate --json`` for this refiner; its metrics are shown on the card.
            overwrite: replace files that exist.
            push_to_hub: upload the folder's content as :meth:`push_to_hub` does.
            repo_id: the repository, ``OWNER/NAME``, which the card names; None uploads to one named as the folder.
            push_to_hub_options: further arguments of :meth:`push_to_hub`.

        Returns:
            Address of the commit if ``push_to_hub`` is set; otherwise None.

        Raises:
            UsageError: the licence is not as the hub writes it.
            OutputError: a file exists and ``overwrite`` is False, or cannot be written or uploaded.
        """
        from refiner.inference.sharing import share_refiner
        from refiner.models.files.model_card import REPOSITORY, CardTerms, training_data

        folder = Path(save_directory)
        if folder.is_file():
            raise WrongOutputError(f"{folder} is a file; name a folder for the refiner and its card")
        terms = CardTerms(license, license_name, license_link, tuple(datasets))
        data = None if self._run is None else training_data(self._run)
        folder.mkdir(parents=True, exist_ok=True)
        share_refiner(
            self._file,
            folder,
            terms,
            data=data,
            verdict=verdict,
            repository=repo_id or REPOSITORY,
            overwrite=overwrite,
        )
        if not push_to_hub:
            return None
        return _upload(folder, repo_id or folder.name, **push_to_hub_options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str,
        license_name: str | None = None,
        license_link: str | None = None,
        datasets: Sequence[str] = (),
        verdict: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> str:
        """Upload the refiner and its model card to the Hugging Face hub, in one commit.

        Args:
            repo_id: the repository, ``OWNER/NAME``; it is made if it does not exist.
            license: licence of the weights; see :meth:`save_pretrained`.
            license_name: name of an ``other`` licence.
            license_link: address of an ``other`` licence.
            datasets: names of data sets on the hub that the refiner was trained on.
            verdict: output of ``refiner evaluate --json`` for this refiner.
            options: the hub's own options ``commit_message``, ``private``, ``token``, ``branch`` and ``create_pr``.

        Returns:
            Address of the commit.

        Raises:
            UsageError: the licence is not as the hub writes it.
            OutputError: the hub refuses the upload, or cannot be reached.
            DeviceError: the extra ``hub`` is not installed.
        """
        terms = {"license": license, "license_name": license_name, "license_link": license_link, "datasets": datasets}
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, verdict=verdict, overwrite=True, repo_id=repo_id, **terms)  # type: ignore[arg-type]
            return _upload(Path(folder), repo_id, **options)


def _upload(
    folder: Path,
    repo_id: str,
    *,
    commit_message: str = "Upload a refiner of simgan-refiner",
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> str:
    """Upload the refiner file and the card of a folder, and nothing else in it."""
    from refiner.models.files.model_card import CARD_FILE

    return upload_folder(
        folder,
        repo_id,
        private=private,
        token=token,
        commit_message=commit_message,
        revision=branch,
        create_pr=create_pr,
        allow_patterns=[REFINER_FILE, CARD_FILE],
    )
