"""The backend, device and precision of a job: fixed by its first run, and used by all later runs and shards.

Backends differ by up to a grey level. If each machine chose its own, the results of shards would not fit together, and
the run that merges them would refine their images again.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from refiner.core.devices import resolve_device
from refiner.core.errors import DeviceError, RefinerError, WrongOutputError
from refiner.core.files import read_regular, write_once, write_text
from refiner.data.output.folder import SETTINGS_PREFIX
from refiner.data.output.output_names import state_folder
from refiner.data.store.hdf5 import text_attribute
from refiner.data.store.store_names import is_store_name
from refiner.inference.backends.registry import is_available
from refiner.inference.backends.torch_backend import computes_in_bf16
from refiner.inference.refiner import RefinerSource

AUTO = "auto"


class Settings(NamedTuple):
    """Backend and device of a job.

    Attributes:
        backend: a name in :data:`refiner.inference.backends.registry.BACKENDS`.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32`` or ``bf16``.
    """

    backend: str
    device: str
    precision: str

    @classmethod
    def of(cls, backend: str, device: str) -> "Settings":
        """Return the settings of a backend on a device of this machine."""
        return cls(backend, device, "bf16" if computes_in_bf16(backend, device) else "fp32")

    def agrees(self, backend: str, device: str) -> bool:
        """Return whether a request for a backend and a device, each a name or ``auto``, permits these settings."""
        return backend in (AUTO, self.backend) and device in (AUTO, self.device)

    def __str__(self) -> str:
        return f"--backend {self.backend} --device {self.device} in {self.precision}"


def earlier_settings(output: Path, refiner_digest: str) -> Settings | None:
    """Return the settings that an earlier run of a job has fixed, or None.

    Args:
        output: the folder or store of refined images.
        refiner_digest: SHA-256 of the refiner file.
    """
    try:
        # A finished store holds its settings; those of an unfinished job lie in its state folder.
        made_by = text_attribute(output, "refiner") if is_store_name(output) else None
        if made_by is not None and made_by.startswith(refiner_digest):
            return Settings(*json.loads(text_attribute(output, "settings") or ""))
        return Settings(*json.loads(read_regular(_path(output, refiner_digest))))
    except (OSError, ValueError, TypeError):
        return None


def check_usable(settings: Settings, output: Path) -> None:
    """Check that this machine can compute with the settings of an earlier run.

    Raises:
        DeviceError: the device, the backend or the precision is not available.
    """
    usable = is_available(settings.backend)
    try:
        usable = usable and Settings.of(settings.backend, resolve_device(settings.device)) == settings
    except RefinerError:
        usable = False
    if not usable:
        raise DeviceError(
            f"{output} was begun with {settings}, which this machine cannot compute; continue on a machine that can, "
            "or pass --overwrite without --shard to refine everything again"
        )


def settle(refiner: RefinerSource, output: Path, requested: tuple[str, str], *, anew: bool) -> RefinerSource:
    """Fix the settings of a job, or return those that another run has fixed first. The output must be locked.

    Args:
        refiner: the refiner with the settings of this run.
        output: the folder or store of refined images.
        requested: names of the backend and the device that the user asked for, or ``auto``.
        anew: replace the settings of earlier runs, whose results are replaced as well.

    Raises:
        WrongOutputError: the job was begun with other settings than the user asks for.
        DeviceError: this machine cannot compute with the settings of the job.
    """
    mine, path = Settings.of(refiner.backend, refiner.device), _path(output, refiner.file_digest)
    if anew:
        write_text(path, json.dumps(mine))
        return refiner
    settings = earlier_settings(output, refiner.file_digest)
    if settings is None:
        settings = Settings(*json.loads(write_once(path, json.dumps(mine))))
    if not settings.agrees(*requested):
        raise WrongOutputError(
            f"{output} was begun with {settings}; leave out --backend and --device to continue, choose another output, "
            "or pass --overwrite without --shard to refine everything again"
        )
    if settings != mine:
        check_usable(settings, output)
    return replace(refiner, backend=settings.backend, device=settings.device)


def _path(output: Path, refiner_digest: str) -> Path:
    return state_folder(output) / f"{SETTINGS_PREFIX}{refiner_digest[:16]}.json"
