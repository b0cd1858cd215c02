"""Inspect run folders and refiner files, without changing them."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.errors import DataError, WrongInputError
from refiner.core.files import read_json_lines
from refiner.core.path_kinds import is_gaze_run
from refiner.data.labels.tables import REJECTED_FILE
from refiner.inspection.facts import Finding
from refiner.models.files.lookup import REFINER_FILE
from refiner.runs.folder import CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE, RunFolder

_RUN_FILES = (METRICS_FILE, ENVIRONMENT_FILE, "checkpoints")

WARNINGS = 5
"""Number of warnings that are kept, the latest ones."""


@dataclass(frozen=True)
class RefinerFacts:
    """Facts about a refiner file.

    Attributes:
        path: path of the file.
        architecture: arguments that build the network, or its kind and settings if it is none.
        parameters: number of trained values, or of values of the statistics.
        receptive_field: side of the square of input pixels that an output pixel depends on; None if it is the image.
        summary: description in a few words.
        value_range: lowest and highest value of the images that the network takes and returns.
        training: summary of the training: steps, precision, configuration.
        digest: SHA-256 of the weights.
        file_bytes: size of the file in bytes.
    """

    path: str
    architecture: dict[str, Any]
    parameters: int
    receptive_field: int | None
    summary: str
    value_range: list[float]
    training: dict[str, Any]
    digest: str
    file_bytes: int


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run folder.

    Attributes:
        path: path of the folder.
        steps_done, steps: number of logged outer steps, and of all outer steps, pre-training included.
        pretraining_steps: number of pre-training steps.
        metrics: last line of ``metrics.jsonl``.
        metrics_rows: number of its lines.
        started, updated: UTC times in ISO 8601 when ``environment.json`` and ``metrics.jsonl`` were last written; empty
            if they do not exist.
        training_environment: processor, device, precision, threads and versions.
        data: paths in the data section of the configuration, by key.
        seed: seed of all random choices.
        checkpoints: names of the checkpoints, the oldest first.
        samples: number of sample sheets.
        rejected: number of training images that were left out.
        warnings: latest warnings of the monitors about the metrics, with the step, the latest last.
        refiner: facts about the refiner file; None if there is none, or it is damaged.
        findings: problems of the run.
    """

    path: str
    steps_done: int
    steps: int
    pretraining_steps: int
    metrics: dict[str, Any]
    metrics_rows: int
    started: str
    updated: str
    training_environment: dict[str, Any]
    data: dict[str, str]
    seed: int
    checkpoints: tuple[str, ...]
    samples: int
    rejected: int
    warnings: tuple[str, ...]
    refiner: RefinerFacts | None
    findings: list[Finding] = field(default_factory=list)


def is_run(path: Path) -> bool:
    """True if a folder is a run folder that training has written to."""
    return (path / CONFIG_FILE).is_file() and any((path / name).exists() for name in _RUN_FILES)


def is_refiner_file(path: Path) -> bool:
    """True if a file has the suffix of refiner files."""
    return path.suffix.lower() == ".safetensors" and path.is_file()


def inspect_refiner(path: Path) -> RefinerFacts:
    """Inspect a refiner file.

    Raises:
        DataError: the file is damaged, holds no refiner, or has a newer format.
    """
    from refiner.models.files.refiner_file import load_refiner

    refiner = load_refiner(path)
    return RefinerFacts(
        path=str(path),
        architecture=dict(refiner.metadata["architecture"]),
        parameters=sum(values.size for values in refiner.weights.values()),
        receptive_field=refiner.architecture.receptive_field,
        summary=refiner.architecture.summary,
        value_range=list(refiner.metadata.get("value_range", [-1, 1])),
        training=dict(refiner.metadata.get("training", {})),
        digest=refiner.digest(),
        file_bytes=path.stat().st_size,
    )


def inspect_run(path: Path) -> RunFacts:
    """Inspect a run folder, during training or afterwards.

    Raises:
        DataError: the run is that of a gaze estimator.
        RefinerError: the configuration or ``environment.json`` cannot be read.
    """
    from refiner.runs.checkpoints import list_checkpoints

    if is_gaze_run(path):
        raise WrongInputError(
            f"{path} is the run folder of a gaze estimator; inspect describes runs of refiners, and "
            "`refiner gaze evaluate` measures an estimator"
        )
    # Read what the run recorded.
    configuration = read_configuration(path / CONFIG_FILE, TrainingConfiguration)
    folder = RunFolder(path)
    last, rows, warnings = _replay(path / METRICS_FILE, configuration.objective)
    refiner, problems = None, []
    try:
        refiner = inspect_refiner(folder.refiner) if folder.refiner.exists() else None
    except DataError as error:
        problems.append(Finding("refiner", str(error), "run the same train command again to write it"))

    # Put the facts together, and look for problems.
    pretraining = configuration.pretraining
    facts = RunFacts(
        path=str(path),
        steps_done=step if isinstance(step := last.get("step"), int) else 0,
        steps=configuration.total_steps,
        pretraining_steps=0
        if configuration.fits_statistics
        else pretraining.refiner_steps + pretraining.discriminator_steps,
        metrics=last,
        metrics_rows=rows,
        started=_time(path / ENVIRONMENT_FILE),
        updated=_time(path / METRICS_FILE),
        training_environment=folder.read_environment(),
        data={
            name: str(location)
            for name, location in configuration.data.model_dump(exclude={"include", "exclude", "preflight"}).items()
            if location is not None
        },
        seed=configuration.seed,
        checkpoints=tuple(file.name for file in list_checkpoints(folder.checkpoints)),
        samples=sum(1 for _ in folder.samples.glob("*.png")),
        rejected=_row_count(path / REJECTED_FILE),
        warnings=tuple(warnings),
        refiner=refiner,
    )
    facts.findings.extend([*_run_faults(facts), *problems])
    return facts


def _replay(metrics: Path, objective: str) -> tuple[dict[str, Any], int, deque[str]]:
    """Return the last line of the metrics, the number of lines, and the warnings that the monitors gave."""
    from refiner.losses.adversarial import OBJECTIVES
    from refiner.runs.health import Monitor

    monitor, warnings = Monitor(OBJECTIVES[objective].chance_loss), deque[str](maxlen=WARNINGS)
    last: dict[str, Any] = {}
    rows = 0
    for rows, last in enumerate(read_json_lines(metrics), 1):  # noqa: B007 (the last line is used below)
        try:
            warnings.extend(f"step {last.get('step')}: {warning}" for warning in monitor.warnings(last))
        except (KeyError, TypeError):  # written by another version
            continue
    return last, rows, warnings


def _run_faults(facts: RunFacts) -> Iterator[Finding]:
    if not facts.steps and facts.refiner is not None:
        pass  # statistics are fitted without steps and metrics
    elif not facts.metrics:
        yield Finding("no metrics", "no metrics are logged yet", "wait, or run the same train command again")
    elif facts.steps_done < facts.steps:
        yield Finding(
            "unfinished",
            f"{facts.steps_done:,} of {facts.steps:,} steps are logged",
            "if no process is training now, run the same train command to resume from the last checkpoint",
        )
    # Metrics that are not finite.
    bad = [name for name, value in facts.metrics.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        yield Finding(
            "not finite",
            f"the last metrics are not finite: {', '.join(bad)}",
            "train again with a smaller learning rate",
        )
    # Files that are missing.
    if facts.metrics and not facts.checkpoints:
        yield Finding(
            "no checkpoint", "there is no checkpoint to resume from", "the same train command starts again at step 0"
        )
    if facts.metrics and facts.refiner is None and facts.checkpoints:
        yield Finding("no refiner", f"{REFINER_FILE} is missing", "run the same train command again to write it")
    for name, location in facts.data.items():
        if not Path(location).exists():
            yield Finding(f"{name} gone", f"data.{name} is no longer at {location}", "restore it before resuming")
    if facts.rejected:
        yield Finding(
            "rejected", f"{facts.rejected:,} training images were left out", f"see {Path(facts.path) / REJECTED_FILE}"
        )


def _time(file: Path) -> str:
    if not file.exists():
        return ""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _row_count(table: Path) -> int:
    """Return the number of rows below the header; cells hold no line breaks."""
    if not table.is_file():
        return 0
    with table.open("rb") as stream:
        return max(0, sum(1 for _ in stream) - 1)
