"""The run folder: all files of one training run, and the rules for resuming it.

``config.yaml``, ``environment.json``, ``metrics.jsonl``, TensorBoard events, ``samples/``, ``checkpoints/``,
``rejected.csv``, and the result: ``refiner.safetensors``, or ``estimator.safetensors`` of a gaze estimator.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from refiner.config.yaml_files import changed_keys, read_configuration, write_configuration
from refiner.core.devices import resolve_device
from refiner.core.environment import environment
from refiner.core.errors import (
    ConfigurationError,
    DeviceError,
    OutputError,
    RunError,
    WrongOutputError,
    WrongRunError,
)
from refiner.core.files import TEMPORARY_PREFIX, JsonLines, read_json_lines, read_regular, write_text
from refiner.core.locks import locked
from refiner.core.path_kinds import is_gaze_run
from refiner.data.labels.tables import REJECTED_FILE, write_rejected
from refiner.models.files.lookup import CONFIG_FILE as CONFIG_FILE
from refiner.models.files.lookup import REFINER_FILE

log = logging.getLogger(__name__)

CLOCK_COLUMNS = ("seconds", "images_per_second")
"""Columns of ``metrics.jsonl`` that differ between equal runs: clock times."""

ESTIMATOR_FILE = "estimator.safetensors"
"""Name of the estimator file in the run folder of a gaze estimator."""

_RESULTS = (REFINER_FILE, ESTIMATOR_FILE)

METRICS_FILE = "metrics.jsonl"

ENVIRONMENT_FILE = "environment.json"

FORMAT_VERSION = 2
"""Version of a run folder, recorded in ``environment.json``."""

_INPUTS = {
    "synthetic": "synthetic images",
    "real": "real images",
    "estimator": "weights of data.estimator",
    "start_from": "starting weights (--from)",
    "data.train": "training images",
    "data.unlabelled": "unlabelled images",
    "augmentation.refiner": "weights of augmentation.refiner",
}

_PADDED = ("refiner", "discriminator")
"""Sections whose networks padded with zeros before ``padding`` was a setting."""

_OWN = (ENVIRONMENT_FILE, METRICS_FILE, "samples", "checkpoints", REJECTED_FILE, *_RESULTS, CONFIG_FILE)
"""Entries of a run folder in the order in which ``--new`` deletes them. The configuration marks a run and goes last."""


class RunFolder:
    """The folder of one run; open it with :func:`open_run`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.refiner = path / REFINER_FILE
        self.estimator = path / ESTIMATOR_FILE
        self._metrics: JsonLines | None = None

    def read_environment(self) -> dict[str, Any]:
        """Return the record of the environment that the run was started in; empty for a new run."""
        file = self.path / ENVIRONMENT_FILE
        if not file.exists():
            return {}
        try:
            return dict(json.loads(read_regular(file)))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{file} is damaged; start again with --new") from error

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record the environment that the run is started in."""
        write_text(self.path / ENVIRONMENT_FILE, json.dumps(environment, indent=2) + "\n")

    def resolve_device(self, device: str) -> str:
        """Return ``cpu`` or ``cuda``; ``auto`` takes the device that the run was started on.

        A run that was started on the CPU stays there, and a log message says so if a GPU is usable.

        Raises:
            DeviceError: that device is not usable here.
        """
        recorded = self.read_environment().get("device", "auto")
        if device != "auto" or recorded == "auto":
            return resolve_device(device)
        usable = resolve_device("auto")
        if recorded == "cuda" and usable == "cpu":
            raise DeviceError(
                f"the run in {self.path} was started on cuda, but no CUDA device is usable here; resume it on a "
                "machine with a GPU, or pass --device cpu, which gives other bits"
            )
        if recorded != usable:
            log.info("this run was started on the cpu and stays there; --device cuda uses the GPU, with other bits")
        return str(recorded)

    def settle_environment(
        self, device: str, inputs: Mapping[str, str], choose_precision: Callable[[str], str], *, num_processes: int = 1
    ) -> tuple[str, str]:
        """Compare the inputs with those of the first start, restore its threads, and return device and precision.

        A new run records them with the environment, so that a resumed run has the same bits.

        Args:
            device: ``auto``, ``cpu`` or ``cuda``.
            inputs: digests of the inputs by name; ``start_from`` may be ``nothing`` on resume.
            choose_precision: returns ``fp32`` or ``bf16`` for a device; called if no choice is recorded.
            num_processes: number of processes that train together.

        Raises:
            RunError: the run was started with other inputs, or by a version with another format.
        """
        import torch

        recorded, device = self.read_environment(), self.resolve_device(device)
        if recorded and recorded.get("format_version") != FORMAT_VERSION:
            raise WrongRunError(
                f"{self.path} holds a run of another version; choose another --run, or start again with --new"
            )
        # Compare the inputs, threads and machine with those of the first start.
        if recorded:
            for name, digest in inputs.items():
                if recorded["inputs"].get(name) != digest and not (name == "start_from" and digest == "nothing"):
                    raise WrongRunError(
                        f"the run in {self.path} was started with other {_INPUTS.get(name, name)}; restore that input "
                        "to resume, choose another --run, or start again with --new"
                    )
            torch.set_num_threads(recorded["threads"])
            if recorded.get("processes", 1) != num_processes:
                counts = recorded.get("processes", 1), num_processes
                log.warning("this run was started with %d processes, not %d, so its bits will differ", *counts)
            if recorded["device"] != device:
                log.warning("this run was started on %s, not %s, so its bits will differ", recorded["device"], device)
            elif recorded["processor"] != environment()["processor"]:
                log.warning("this run was started on another processor, so its bits will differ")
        # Choose the precision, and record it.
        precision = recorded["precision"] if recorded.get("device") == device else choose_precision(device)
        if not recorded:
            chosen = {
                "format_version": FORMAT_VERSION,
                "device": device,
                "precision": precision,
                "inputs": dict(inputs),
            }
            chosen |= {"processes": num_processes} if num_processes > 1 else {}
            self.write_environment({**environment(), **chosen})
        return device, precision

    def write_configuration(self, configuration: BaseModel) -> None:
        """Write ``config.yaml``: the resolved configuration."""
        write_text(self.path / CONFIG_FILE, write_configuration(configuration))

    def write_rejected(self, rejected: Mapping[str, str]) -> None:
        """Write ``rejected.csv``: the training images that were left out."""
        if not rejected:
            (self.path / REJECTED_FILE).unlink(missing_ok=True)
        else:
            write_rejected(self.path / REJECTED_FILE, [(sample, "train", why) for sample, why in rejected.items()])

    def cut_metrics(self, step: int) -> None:
        """Drop the metrics after ``step``, which will be measured again, and open the file for more."""
        file = self.path / METRICS_FILE
        kept = [row for row in read_json_lines(file) if row.get("step", 0) <= step]
        write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        self._metrics = JsonLines(file)

    def log_metrics(self, row: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        if self._metrics is None:
            raise RuntimeError("cut_metrics() must open the metrics first")
        self._metrics.append(row)

    def close(self) -> None:
        """Close ``metrics.jsonl``."""
        if self._metrics is not None:
            self._metrics.close()


@contextlib.contextmanager
def open_run(path: Path, configuration: BaseModel, *, new: bool = False) -> Iterator[RunFolder]:
    """Open a run folder for training, and lock it.

    An existing run resumes only with the configuration it was started with, except that ``steps`` may have grown. Its
    ``config.yaml`` then keeps the old number until :meth:`RunFolder.write_configuration` is called.

    Args:
        path: the folder; created if it is missing.
        configuration: of the run.
        new: delete an existing run first.

    Raises:
        RunError: the run was started with another configuration, or another process trains in it.
        OutputError: the folder holds other files, or cannot be written.
    """
    # Refuse anything that is not a run.
    if path.exists() and not path.is_dir():
        raise WrongOutputError(f"{path} is a file, not a run folder; choose another --run")
    file = path / CONFIG_FILE
    if (
        path.is_dir()
        and not file.exists()
        and any(not entry.name.startswith((".lock", TEMPORARY_PREFIX)) for entry in path.iterdir())
    ):
        raise WrongOutputError(f"{path} holds files that are no run; choose an empty folder")
    refusal = f"another process is training in {path}; wait for it, or choose another --run"
    try:
        with locked(path / ".lock", refusal=refusal):
            if new:
                _clear(path)
            run = RunFolder(path)
            # Compare the configuration with that of the run, or start a run with it.
            if file.exists():
                _check_configuration(path, file, configuration)
            else:
                run.write_configuration(configuration)
            try:
                yield run
            finally:
                run.close()
    except OutputError as error:
        if str(error) == refusal:
            raise RunError(refusal) from error
        raise


def _check_configuration(path: Path, file: Path, configuration: BaseModel) -> None:
    """Refuse a configuration that differs from that of the run in anything but more steps.

    Raises:
        RunError: it differs.
    """
    try:
        recorded = read_configuration(file, type(configuration), overrides=_settings_of_older_runs(file))
    except ConfigurationError as error:
        kind = "a gaze estimator" if is_gaze_run(path) else "a refiner"
        raise WrongRunError(
            f"{path} holds a run of {kind} whose settings cannot be read here ({error}); choose another --run, or "
            "start again with --new"
        ) from error
    before, after = getattr(recorded, "steps", 0), getattr(configuration, "steps", 0)
    continues = after > before
    changes = changed_keys(recorded.model_copy(update={"steps": after}) if continues else recorded, configuration)
    if changes:
        raise WrongRunError(
            f"the run in {path} was started with another configuration ({'; '.join(changes)}); restore it to resume, "
            "choose another --run, start again with --new, or start from its weights with --from. Only steps may grow"
        )
    if continues:
        log.info("the run in %s continues from %d to %d steps", path, before, after)


def _settings_of_older_runs(file: Path) -> list[str]:
    """Return the values of settings that ``config.yaml`` lacks because the run is older than they are, as overrides."""
    try:
        values = yaml.safe_load(read_regular(file).decode())
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return []  # reading the configuration reports what is wrong
    sections = [values.get(name) for name in _PADDED] if isinstance(values, dict) else []
    return [
        f"{name}.padding=zeros"
        for name, section in zip(_PADDED, sections, strict=False)
        if isinstance(section, dict) and "padding" not in section
    ]


def _clear(path: Path) -> None:
    for pattern in ("events.out.tfevents.*", "estimator_[0-9]*.safetensors"):
        for file in path.glob(pattern):
            file.unlink()
    for name in _OWN:
        entry = path / name
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
