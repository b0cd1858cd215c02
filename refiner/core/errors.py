"""Errors that a user can cause or fix. Any other exception is a bug and keeps its traceback.

RefinerError                 base class; the message states the problem, what was expected and what to do
├── UsageError               the command cannot work as it was given: change an argument, an option or a setting
│   ├── ConfigurationError   a configuration file or override cannot be used
│   ├── WrongInputError      an input is missing, or of another kind than needed; also a DataError
│   ├── WrongOutputError     existing files are in the way of an output; also an OutputError
│   └── WrongRunError        a run cannot be resumed with these settings; also a RunError
├── DataError                a data set, folder or refiner file cannot be used as a whole
│   └── ImageError           one image cannot be read or written; batch jobs reject it and continue
├── OutputError              an output cannot be written, or existing files would be lost
├── RunError                 a run cannot start or resume, or was stopped on request
├── TrainingError            training cannot continue, because a loss is not finite
└── DeviceError              a requested device or backend is not available

The command line exits with status 2 for a UsageError, and with status 1 for every other RefinerError: the command may
be right, but its data, the machine or the disk is not.
"""

from pathlib import Path


class RefinerError(Exception):
    """Base class of every error that the toolkit raises on purpose."""


class UsageError(RefinerError):
    """The command cannot work as it was given; the message says which argument, option or setting to change."""


class ConfigurationError(UsageError):
    """A configuration cannot be used; the message names the file and the key."""


class DataError(RefinerError):
    """A data set, folder or refiner file cannot be used; the message names it."""


class WrongInputError(DataError, UsageError):
    """An input is missing, or of another kind than the command needs; the message names the kind."""


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


class WrongOutputError(OutputError, UsageError):
    """Existing files are in the way of an output; the message says how to replace them or asks for another place."""


class RunError(RefinerError):
    """A run cannot start or resume, or was stopped on request.

    Examples: the folder is in use, holds another configuration or has no usable checkpoint; gaze training was started
    by ``accelerate launch``; another process of the run has failed.
    """


class WrongRunError(RunError, UsageError):
    """A run cannot be resumed with these settings or inputs; the message names what differs."""


class DeviceError(RefinerError):
    """A requested device or backend is not available."""


class TrainingError(RefinerError):
    """Training stopped, because a loss is not finite; the message names the step and the losses."""


def missing_extra(extra: str) -> DeviceError:
    """Return the error to raise if the package of an optional extra is not installed."""
    return DeviceError(f"{extra} is not installed; pip install 'simgan-refiner[{extra}]' adds it")
