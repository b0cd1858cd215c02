"""A run folder: everything one training run has written, and the rules for going on with it.

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

from pydantic import BaseModel

from refiner.config.yaml_files import changed_keys, read_configuration, write_configuration
from refiner.core.devices import resolve_device
from refiner.core.environment import environment
from refiner.core.errors import ConfigurationError, OutputError, RunError
from refiner.core.files import TEMPORARY_PREFIX, JsonLines, locked, read_json_lines, read_regular, write_text
from refiner.data.labels.tables import REJECTED_FILE, write_rejected
from refiner.models.lookup import REFINER_FILE

log = logging.getLogger(__name__)

CLOCK_COLUMNS = ("seconds", "images_per_second")
"""Columns of ``metrics.jsonl`` that differ between equal runs."""

ESTIMATOR_FILE = "estimator.safetensors"
"""Name of the file of a gaze estimator in a run folder."""

_RESULTS = (REFINER_FILE, ESTIMATOR_FILE)

CONFIG_FILE = "config.yaml"

_OWN = ("environment.json", "metrics.jsonl", "samples", "checkpoints", REJECTED_FILE, *_RESULTS, CONFIG_FILE)
"""What a run writes, in the order it is deleted: a folder is known as a run by its configuration, which goes last."""


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
        """What the run was started on; empty before it was."""
        file = self.path / "environment.json"
        if not file.exists():
            return {}
        try:
            return dict(json.loads(read_regular(file)))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{file}: is damaged; start over with --new") from error

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record what the run is started on."""
        write_text(self.path / "environment.json", json.dumps(environment, indent=2) + "\n")

    def settle_environment(
        self, device: str, inputs: Mapping[str, str], choose_precision: Callable[[str], str], *, processes: int = 1
    ) -> tuple[str, str]:
        """Device and precision: chosen once and read back on resume, with the threads, so that the bits stay.

        Args:
            device: ``auto``, ``cpu`` or ``cuda``.
            inputs: digests of the data by name; ``--from`` may be ``nothing`` on resume.
            choose_precision: ``fp32`` or ``bf16`` for a device; asked where no choice is recorded.
            processes: that train together.

        Raises:
            RunError: the run was started on other inputs.
        """
        import torch

        recorded = self.read_environment()
        device = resolve_device(recorded.get("device", "auto") if device == "auto" and recorded else device)
        if recorded:
            for name, digest in inputs.items():
                if recorded["inputs"].get(name) != digest and not (name == "--from" and digest == "nothing"):
                    raise RunError(
                        f"{self.path}: was started on other {name}; bring them back to go on, choose another --run, "
                        "or start over with --new"
                    )
            torch.set_num_threads(recorded["threads"])
            if recorded.get("processes", 1) != processes:
                told = recorded.get("processes", 1), processes
                log.warning("this run was started by %d processes, not %d: it goes on, but not to the same bits", *told)
            if recorded["device"] != device or recorded["processor"] != environment()["processor"]:
                log.warning("this run was started on another machine or device: it goes on, but not to the same bits")
        precision = recorded["precision"] if recorded.get("device") == device else choose_precision(device)
        if not recorded:
            chosen = {"device": device, "precision": precision, "backend": "eager", "inputs": dict(inputs)}
            chosen |= {"processes": processes} if processes > 1 else {}
            self.write_environment({**environment(), **chosen})
        return device, precision

    def write_rejected(self, rejected: Mapping[str, str]) -> None:
        """Record the training images that were left out."""
        if not rejected:
            (self.path / REJECTED_FILE).unlink(missing_ok=True)
        else:
            write_rejected(self.path / REJECTED_FILE, [(sample, "train", why) for sample, why in rejected.items()])

    def cut_metrics(self, step: int) -> None:
        """Drop the metrics after ``step``, which are about to be measured again, and open the file for more."""
        file = self.path / "metrics.jsonl"
        kept = [row for row in read_json_lines(file) if row.get("step", 0) <= step]
        write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        self._metrics = JsonLines(file)

    def log_metrics(self, row: dict[str, Any]) -> None:
        """Append one line of metrics."""
        if self._metrics is None:
            raise RuntimeError("cut_metrics opens the metrics first")
        self._metrics.append(row)

    def close(self) -> None:
        """Close the metrics."""
        if self._metrics is not None:
            self._metrics.close()


@contextlib.contextmanager
def open_run(path: Path, configuration: BaseModel, *, new: bool = False) -> Iterator[RunFolder]:
    """Open a run folder for training, alone.

    Args:
        path: the folder, made when it is missing.
        configuration: must equal that of the run when there is one.
        new: delete the run that is there and start over.

    Raises:
        RunError: the run was started with another configuration, or another process trains in it.
        OutputError: the folder holds something that is no run, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: is a file, not a run folder; choose another --run")
    file = path / CONFIG_FILE
    if (
        path.is_dir()
        and not file.exists()
        and any(not entry.name.startswith((".lock", TEMPORARY_PREFIX)) for entry in path.iterdir())
    ):
        raise OutputError(f"{path}: holds files, but no run; choose an empty folder")
    refusal = f"{path}: another process is training in this run; wait for it, or choose another --run"
    try:
        with locked(path / ".lock", refusal=refusal):
            if new:
                _clear(path)
            if file.exists():
                try:
                    changes = changed_keys(read_configuration(file, type(configuration)), configuration)
                except ConfigurationError as error:
                    raise RunError(
                        f"{path}: holds a run of another kind or release ({error}); choose another --run, or start "
                        "over with --new"
                    ) from error
                if changes:
                    raise RunError(
                        f"{path}: was started with another configuration ({'; '.join(changes)}); change it back to go "
                        "on, choose another --run, start over with --new, or begin from its weights with --from"
                    )
            else:
                write_text(file, write_configuration(configuration))
            run = RunFolder(path)
            try:
                yield run
            finally:
                run.close()
    except OutputError as error:
        if str(error) == refusal:
            raise RunError(refusal) from error
        raise


def _clear(path: Path) -> None:
    for events in path.glob("events.out.tfevents.*"):
        events.unlink()
    for name in _OWN:
        entry = path / name
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
