"""The report page: an evaluation, the pictures behind it, and how the refiner was made, in one HTML file."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import torch

from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.core.rng import numpy_generator
from refiner.evaluation.evaluate import Evaluation
from refiner.metrics.memorization import nearest
from refiner.report.curves import training_curves
from refiner.report.pictures import Pair, difference_uri, grey_uri

TEMPLATES = Path(__file__).parent / "templates"

SHOWN = 24
"""Images in a gallery."""

EXAMPLES = 20
"""Labelled pictures of each side that a visual Turing test begins with, as in the paper."""

CLASSES = {"use": "use", "use with rejection": "rejection", "do not use": "refused"}


@dataclass(frozen=True)
class Origin:
    """Where a refiner comes from, as far as it is known.

    Attributes:
        title: of the page.
        renders, photographs: the data sets.
        seed: of the evaluation.
        metrics: lines of ``metrics.jsonl``; empty without a run.
        facts: texts to be unfolded, by name: configuration, environment.
    """

    title: str
    synthetic: str
    real: str
    seed: int
    metrics: Sequence[Mapping[str, float]]
    facts: Mapping[str, str]


def write_report(path: Path, found: Evaluation, origin: Origin) -> None:
    """Write ``report.html``: needs no network, and opens from disk.

    Raises:
        OutputError: the disk refuses.
    """
    worst, drawn = _galleries(found, origin.seed)
    galleries = [
        {"title": "Worst by drift", "note": "Labels of these are most to be doubted.", "pairs": worst},
        {"title": "Drawn at random", "note": "What refining usually does.", "pairs": drawn},
    ]
    versions = environment()["versions"]
    text = _render(
        "report",
        title=origin.title,
        synthetic=origin.synthetic,
        real=origin.real,
        seed=origin.seed,
        count=len(found.drifts),
        version=versions.get("simgan-refiner"),
        verdict=found.verdict,
        verdict_class=CLASSES[found.verdict.decision],
        shown=drawn[0],
        galleries=galleries,
        metrics=found.metrics,
        curves=training_curves(origin.metrics),
        facts={**origin.facts, "versions": json.dumps(versions, indent=1)},
        data=_embedded([[_shown(pair) for pair in pairs] for pairs in (worst, drawn)]),
    )
    write_text(path, text)


def _galleries(found: Evaluation, seed: int) -> tuple[list[Pair], list[Pair]]:
    """The worst by drift score, and some at random."""
    scores = torch.tensor([drift.score for drift in found.drifts.values()])
    worst = scores.argsort(descending=True)[:SHOWN].tolist()
    drawn = numpy_generator(seed, "gallery").permutation(len(scores))[:SHOWN].tolist()
    return _pairs(found, worst), _pairs(found, drawn)


def _pairs(found: Evaluation, numbers: Sequence[int]) -> list[Pair]:
    names, drifts = list(found.drifts), list(found.drifts.values())
    likest = nearest(found.refined[numbers], found.real)
    return [
        Pair(
            names[number],
            grey_uri(found.synthetic[number]),
            grey_uri(found.refined[number]),
            difference_uri(found.synthetic[number], found.refined[number]),
            grey_uri(found.real[int(likest.numbers[place])]),
            drifts[number],
            float(likest.distances[place]),
        )
        for place, number in enumerate(numbers)
    ]


def _shown(pair: Pair) -> dict[str, Any]:
    """What the page's script needs."""
    drift = pair.drift
    return {**pair._asdict(), "drift": None, "sentence": drift.sentence(), "score": drift.score}


def write_turing_test(path: Path, found: Evaluation, *, trials: int, seed: int) -> None:
    """Write ``turing.html``: labelled examples first, then guesses, half of each kind, in random order.

    Args:
        path: the file.
        found: an evaluation; no picture is both an example and a guess.
        trials: number of guesses, fewer where there are not enough pictures.
        seed: of the draw.

    Raises:
        OutputError: the disk refuses.
    """
    rng = numpy_generator(seed, "turing-test")
    sides = {
        name: [grey_uri(images[number]) for number in rng.permutation(len(images))[: EXAMPLES + trials]]
        for name, images in (("photograph", found.real), ("refined", found.refined))
    }
    each = min(trials // 2, *(len(pictures) - EXAMPLES for pictures in sides.values()))
    order = [
        {"picture": picture, "truth": name}
        for name, pictures in sides.items()
        for picture in pictures[EXAMPLES : EXAMPLES + each]
    ]
    shuffled = [order[number] for number in rng.permutation(len(order))]
    text = _render(
        "turing",
        trials=len(shuffled),
        real=sides["photograph"][:EXAMPLES],
        refined=sides["refined"][:EXAMPLES],
        data=_embedded({"id": hashlib.sha256(json.dumps(shuffled).encode()).hexdigest()[:16], "trials": shuffled}),
    )
    write_text(path, text)


def _render(name: str, **values: Any) -> str:
    environment_ = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    script = (TEMPLATES / f"{name}.js").read_text(encoding="utf-8")
    return environment_.get_template(f"{name}.html").render(style=style, script=script, **values)


def _embedded(data: Any) -> str:
    """JSON that no name in it can end a script element with."""
    return json.dumps(data).replace("<", "\\u003c")
