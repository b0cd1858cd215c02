"""Tasks of a study: a graph of products, each identified by everything it follows from."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from refiner.core.files import write_text

DONE_FILE = "done.json"
"""File written last into the folder of a product. Without it the product is made again or resumed."""


@dataclass(frozen=True)
class Place:
    """Paths and device of a study.

    Attributes:
        study: name of the study.
        target: the labelled real images.
        out: folder of products, models and single results.
        results: file that collects all results, see :mod:`tools.study.results_file`.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    study: str
    target: Path
    out: Path
    results: Path
    device: str


@dataclass(frozen=True)
class Task:
    """One product.

    Attributes:
        stage: name of the function that makes it, in ``tools.study.products.stages.STAGES``.
        name: label for people: the variant, seed and protocol that needed it first.
        settings: plain values that the product follows from, besides its inputs.
        inputs: the products that it is made of, by their role.
    """

    stage: str
    name: str
    settings: dict[str, Any]
    inputs: dict[str, "Task"] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of stage, settings and inputs: equal digests are equal products, whatever their names."""
        inputs = {role: task.digest for role, task in self.inputs.items()}
        text = json.dumps([self.stage, self.settings, inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def folder(self, out: Path) -> Path:
        """Return the folder of the product."""
        return out / self.stage / self.digest[:16]

    def ancestors(self) -> dict[str, "Task"]:
        """Return all products that this one follows from, by digest."""
        found: dict[str, Task] = {}
        for task in self.inputs.values():
            found |= {task.digest: task, **task.ancestors()}
        return found

    def __str__(self) -> str:
        return f"{self.stage} {self.name}"


def read_done(task: Task, out: Path) -> dict[str, Any] | None:
    """Read the note of a finished product: ``seconds`` and metrics. None if the product is not finished."""
    try:
        done = json.loads((task.folder(out) / DONE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return done if isinstance(done, dict) else None


def write_done(task: Task, out: Path, metrics: dict[str, Any], seconds: float) -> None:
    """Mark a product as finished."""
    note = {"name": task.name, "seconds": round(seconds, 2), "settings": task.settings, **metrics}
    write_text(task.folder(out) / DONE_FILE, json.dumps(note, indent=1) + "\n")


def missing_tasks(wanted: Iterable[Task], is_done: Callable[[Task], bool]) -> list[Task]:
    """Return the tasks that are still needed for some products, each after its inputs.

    The inputs of a finished product are not needed again.
    """
    found: dict[str, Task] = {}

    def visit(task: Task) -> None:
        if task.digest in found or is_done(task):
            return
        for needed in task.inputs.values():
            visit(needed)
        found[task.digest] = task

    for task in wanted:
        visit(task)
    return list(found.values())


def input_folders(task: Task, place: Place) -> dict[str, Path]:
    """Return the folders of the products that a task needs, by role."""
    return {role: needed.folder(place.out) for role, needed in task.inputs.items()}
