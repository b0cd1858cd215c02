"""What a study has to make: a graph of products, each known by all that it follows from."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from refiner.core.files import write_text

DONE_FILE = "done.json"
"""Written last into the folder of a product: without it the product is made again, or gone on with."""


@dataclass(frozen=True)
class Place:
    """Where a study works.

    Attributes:
        study: its name.
        configuration: digest of its configuration.
        target: the labelled photographs.
        out: folder of products and models.
        results: folder of results.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    study: str
    configuration: str
    target: Path
    out: Path
    results: Path
    device: str


@dataclass(frozen=True)
class Task:
    """One product.

    Attributes:
        stage: how it is made; a name in ``tools.study.products.stages.STAGES``.
        name: for people: which arm, seed and protocol wanted it first.
        settings: plain values that it follows from, besides its inputs.
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
        """Where the product lies."""
        return out / self.stage / self.digest[:16]

    def ancestors(self) -> dict[str, "Task"]:
        """Everything that it follows from, by digest."""
        found: dict[str, Task] = {}
        for task in self.inputs.values():
            found |= {task.digest: task, **task.ancestors()}
        return found

    def __str__(self) -> str:
        return f"{self.stage} {self.name}"


def read_done(task: Task, out: Path) -> dict[str, Any] | None:
    """What was noted when the product was finished: ``seconds`` and figures; None where it is not."""
    try:
        done = json.loads((task.folder(out) / DONE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return done if isinstance(done, dict) else None


def write_done(task: Task, out: Path, metrics: dict[str, Any], seconds: float) -> None:
    """Finish a product."""
    note = {"name": task.name, "seconds": round(seconds, 2), "settings": task.settings, **metrics}
    write_text(task.folder(out) / DONE_FILE, json.dumps(note, indent=1) + "\n")


def missing_tasks(wanted: Iterable[Task], is_done: Callable[[Task], bool]) -> list[Task]:
    """What is left to be made for some products, each after its inputs, in the order of the products.

    What a finished product was made of is not needed again.
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
