"""Seconds of one core for a result, on the processor that most results of a study were made on."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tools.study.report.outcomes import Outcome

ADAPTING = ("gaze_matched", "refiner", "refined", "transformed")
"""Stages that adapt renders to real images."""

TRAINING = "estimator"
"""Stage that trains the estimators of a result."""


def common_processor(outcome: Outcome, protocol: str) -> str:
    """Return name and features of the processor that most results were made on; empty if they name none."""
    counts = Counter(_processor(result) for name in outcome.variants for result in outcome.of(name, protocol).values())
    return max(counts, key=lambda name: counts[name], default="")


def seconds(outcome: Outcome, variant: str, protocol: str, stages: Sequence[str] | None = None) -> list[float]:
    """Return the seconds of some stages for each result on the common processor; None takes all stages."""
    wanted = common_processor(outcome, protocol)
    results = [result for result in outcome.of(variant, protocol).values() if _processor(result) == wanted]
    return [sum(value for stage, value in result["seconds"].items() if _among(stage, stages)) for result in results]


def median_and_range(values: Sequence[float]) -> str:
    """Return the median, with the range if there are several values; a dash if there is none."""
    if not values:
        return "–"
    spread = f" [{min(values):.0f}, {max(values):.0f}]" if len(values) > 1 else ""
    return f"{np.median(values):.0f}{spread}"


def _among(stage: str, stages: Sequence[str] | None) -> bool:
    return stages is None or stage in stages


def _processor(result: dict[str, Any]) -> str:
    found = result.get("environment", {}).get("processor")
    return f"{found['name']}, {' '.join(found['features'])}" if found else ""
