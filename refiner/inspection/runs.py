"""What a run folder and a refiner file say of themselves; nothing in them is changed."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.files import read_json_lines
from refiner.data.labels.tables import REJECTED_FILE
from refiner.inspection.facts import Finding

_SIGNS_OF_A_RUN = ("metrics.jsonl", "environment.json", "checkpoints")

WARNINGS = 5
"""Warnings of a run that are shown, the latest."""


@dataclass(frozen=True)
class RefinerFacts:
    """A refiner file.

    Attributes:
        path: the file.
        architecture: the arguments that build the network.
        parameters: number of trained values.
        receptive_field: side of the square of input pixels that one output pixel depends on.
        value_range: of the network's images.
        training: its summary: steps, precision, configuration.
        digest: SHA-256 of the weights.
        file_bytes: size of the file.
    """

    path: str
    architecture: dict[str, Any]
    parameters: int
    receptive_field: int
    value_range: list[float]
    training: dict[str, Any]
    digest: str
    file_bytes: int


@dataclass(frozen=True)
class RunFacts:
    """A run folder.

    Attributes:
        path: the folder.
        steps_done, steps: outer steps logged, and to do, pre-training included.
        pretraining_steps: how many of them are pre-training.
        metrics: the last line of ``metrics.jsonl``.
        metrics_rows: how many lines it has.
        started, updated: times of day in UTC, ISO 8601, as the files have them; empty when unknown.
        started_on: processor, device, precision, threads and versions.
        data: where renders and photographs are.
        seed: every random choice follows from it.
        checkpoints: names, oldest first.
        samples: sheets of samples.
        rejected: training images that were left out.
        warnings: what the monitors say of the metrics, with the step, the latest last.
        refiner: the refiner file, once there is one that can be read.
        findings: what looks wrong.
    """

    path: str
    steps_done: int
    steps: int
    pretraining_steps: int
    metrics: dict[str, Any]
    metrics_rows: int
    started: str
    updated: str
    started_on: dict[str, Any]
    data: dict[str, str]
    seed: int
    checkpoints: tuple[str, ...]
    samples: int
    rejected: int
    warnings: tuple[str, ...]
    refiner: RefinerFacts | None
    findings: list[Finding] = field(default_factory=list)


def is_run(path: Path) -> bool:
    """Whether a folder is one that training has written to."""
    return (path / "config.yaml").is_file() and any((path / name).exists() for name in _SIGNS_OF_A_RUN)


def is_refiner_file(path: Path) -> bool:
    """Whether a file is named like a refiner file."""
    return path.suffix.lower() == ".safetensors" and path.is_file()


def inspect_refiner(path: Path) -> RefinerFacts:
    """Look at a refiner file.

    Raises:
        DataError: it is damaged, no refiner, or of a newer format.
    """
    from refiner.models.refiner_file import load_refiner

    refiner = load_refiner(path)
    return RefinerFacts(
        path=str(path),
        architecture=dict(refiner.metadata["architecture"]),
        parameters=sum(values.size for values in refiner.weights.values()),
        receptive_field=refiner.architecture.receptive_field,
        value_range=list(refiner.metadata.get("value_range", [-1, 1])),
        training=dict(refiner.metadata.get("training", {})),
        digest=refiner.digest(),
        file_bytes=path.stat().st_size,
    )


def inspect_run(path: Path) -> RunFacts:
    """Look at a run folder, while it is trained in or afterwards.

    Raises:
        RefinerError: its configuration or its environment cannot be read.
    """
    from refiner.core.errors import DataError
    from refiner.models.lookup import REFINER_FILE
    from refiner.runs.checkpoints import list_checkpoints
    from refiner.runs.folder import RunFolder

    configuration = read_configuration(path / "config.yaml", TrainingConfiguration)
    folder = RunFolder(path)
    last, rows, warnings = _replay(path / "metrics.jsonl")
    refiner, problems = None, []
    try:
        refiner = inspect_refiner(folder.refiner) if folder.refiner.exists() else None
    except DataError as error:
        problems.append(Finding("refiner", str(error), "the same train command writes it again"))
    pretraining = configuration.pretraining
    facts = RunFacts(
        path=str(path),
        steps_done=step if isinstance(step := last.get("step"), int) else 0,
        steps=configuration.total_steps,
        pretraining_steps=pretraining.refiner_steps + pretraining.discriminator_steps,
        metrics=last,
        metrics_rows=rows,
        started=_time(path / "environment.json"),
        updated=_time(path / "metrics.jsonl"),
        started_on=folder.read_environment(),
        data={
            name: str(place)
            for name, place in configuration.data.model_dump(exclude={"preflight"}).items()
            if place is not None
        },
        seed=configuration.seed,
        checkpoints=tuple(file.name for file in list_checkpoints(folder.checkpoints)),
        samples=sum(1 for _ in folder.samples.glob("*.png")),
        rejected=_row_count(path / REJECTED_FILE),
        warnings=tuple(warnings),
        refiner=refiner,
    )
    facts.findings.extend([*_run_faults(facts, REFINER_FILE), *problems])
    return facts


def _replay(metrics: Path) -> tuple[dict[str, Any], int, deque[str]]:
    """The last line of the metrics, their number, and what the monitors said on the way."""
    from refiner.runs.health import Monitor

    monitor, warnings = Monitor(), deque[str](maxlen=WARNINGS)
    last: dict[str, Any] = {}
    rows = 0
    for rows, last in enumerate(read_json_lines(metrics), 1):  # noqa: B007 (the last is what is wanted)
        try:
            warnings.extend(f"step {last.get('step')}: {warning}" for warning in monitor.warnings(last))
        except (KeyError, TypeError):  # a line of another version
            continue
    return last, rows, warnings


def _run_faults(facts: RunFacts, refiner_file: str) -> Iterator[Finding]:
    if not facts.metrics:
        yield Finding("no metrics", "nothing is logged yet", "wait, or run the same train command again")
    elif facts.steps_done < facts.steps:
        yield Finding(
            "unfinished",
            f"{facts.steps_done:,} of {facts.steps:,} steps are logged",
            "if no process trains in it now, the same train command goes on from the last checkpoint",
        )
    bad = [name for name, value in facts.metrics.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        yield Finding("not finite", f"the last metrics are not finite: {', '.join(bad)}", "a smaller learning rate")
    if facts.metrics and not facts.checkpoints:
        yield Finding("no checkpoint", "there is no checkpoint to go on from", "training would start from step 0")
    if facts.metrics and facts.refiner is None and facts.checkpoints:
        yield Finding("no refiner", f"{refiner_file} is missing", "the same train command writes it again")
    for name, place in facts.data.items():
        if not Path(place).exists():
            yield Finding(f"{name} gone", f"the {name} are no longer at {place}", "bring them back before going on")
    if facts.rejected:
        yield Finding(
            "rejected", f"{facts.rejected:,} training images were left out", f"see {Path(facts.path) / REJECTED_FILE}"
        )


def _time(file: Path) -> str:
    if not file.exists():
        return ""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _row_count(table: Path) -> int:
    """Rows below the header; reasons hold no line breaks."""
    if not table.is_file():
        return 0
    with table.open("rb") as stream:
        return max(0, sum(1 for _ in stream) - 1)
