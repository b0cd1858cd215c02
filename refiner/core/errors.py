"""The errors a user can cause or meet; anything else that surfaces is a bug and keeps its traceback.

RefinerError                 base class: one sentence saying what was found, what was expected, what to do
├── ConfigurationError       a configuration file or override that cannot be used
├── DataError                a data set, folder or refiner file that cannot be used as a whole
│   └── ImageError           one image that cannot be read or written; a batch rejects it and goes on
├── OutputError              a place that cannot be written to, or that would lose something
├── RunError                 a run folder in use, changed, or without a usable checkpoint
├── TrainingError            training cannot go on: a loss is not finite
└── DeviceError              a device or a backend that is asked for is not there
"""

from pathlib import Path


class RefinerError(Exception):
    """Base class of every error that the toolkit raises on purpose."""


class ConfigurationError(RefinerError):
    """A configuration that cannot be used; the message names the file and the key."""


class DataError(RefinerError):
    """A data set, folder or refiner file that cannot be used; the message names it."""


class ImageError(DataError):
    """One image that cannot be read or written.

    Attributes:
        path: the file.
        reason: what is wrong with it, without the path, as it stands in ``rejected.csv``.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[Path, str]]:
        return ImageError, (self.path, self.reason)


class OutputError(RefinerError):
    """An output place that cannot be used, or where something would be lost."""


class RunError(RefinerError):
    """A run folder that is in use, was started with another configuration, or has no usable checkpoint."""


class DeviceError(RefinerError):
    """A device or a backend that is asked for is not there."""


class TrainingError(RefinerError):
    """Training stopped itself; the message holds the step and the losses."""


def missing_extra(extra: str) -> DeviceError:
    """What to say where a package of an extra is not installed."""
    return DeviceError(f"{extra} is not installed; pip install 'simgan-refiner[{extra}]' adds it")
