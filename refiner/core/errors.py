"""Errors that a user can cause or fix. Any other exception is a bug and keeps its traceback.

RefinerError                 base class; the message states the problem, what was expected and what to do
├── UsageError               a command or a call was given options that cannot be used; exit status 2
├── ConfigurationError       a configuration file or override cannot be used
├── DataError                a data set, folder or refiner file cannot be used as a whole
│   └── ImageError           one image cannot be read or written; batch jobs reject it and continue
├── OutputError              an output cannot be written, or existing files would be lost
├── RunError                 a run cannot start or resume, or was stopped on request
├── TrainingError            training cannot continue, because a loss is not finite
└── DeviceError              a requested device or backend is not available
"""

from pathlib import Path


class RefinerError(Exception):
    """Base class of every error that the toolkit raises on purpose."""


class UsageError(RefinerError):
    """Options or arguments cannot be used, which may show only once the data are read."""


class ConfigurationError(RefinerError):
    """A configuration cannot be used; the message names the file and the key."""


class DataError(RefinerError):
    """A data set, folder or refiner file cannot be used; the message names it."""


class ImageError(DataError):
    """One image cannot be read or written.

    Attributes:
        path: path of the image file.
        reason: description of the problem without the path, as written to ``rejected.csv``.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[Path, str]]:
        # Copies between processes need both arguments; by default only the message would be passed on.
        return ImageError, (self.path, self.reason)


class OutputError(RefinerError):
    """An output cannot be written, or existing files would be lost."""


class RunError(RefinerError):
    """A run cannot start or resume, or was stopped on request.

    Examples: the folder is in use, holds another configuration or has no usable checkpoint; gaze training was started
    by ``accelerate launch``; another process of the run has failed.
    """


class DeviceError(RefinerError):
    """A requested device or backend is not available."""


class TrainingError(RefinerError):
    """Training stopped, because a loss is not finite; the message names the step and the losses."""


def missing_extra(extra: str) -> DeviceError:
    """Return the error to raise if the package of an optional extra is not installed."""
    return DeviceError(f"{extra} is not installed; pip install 'simgan-refiner[{extra}]' adds it")
