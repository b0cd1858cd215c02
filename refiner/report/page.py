"""The HTML pages: a report on an evaluation with its images and settings, and a visual Turing test."""

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
"""Number of images in a gallery."""

EXAMPLES = 20
"""Number of labelled pictures of each kind at the start of the visual Turing test, as in the paper."""

CLASSES = {"use": "use", "use with rejection": "rejection", "do not use": "refused"}
"""CSS class of each verdict."""


@dataclass(frozen=True)
class Origin:
    """Origin of a refiner and of its evaluation, for the page.

    Attributes:
        title: title of the page.
        synthetic, real: paths of the data sets.
        seed: seed of the evaluation.
        metrics: lines of ``metrics.jsonl``; empty without a run.
        facts: texts that can be unfolded on the page, by name, such as the configuration.
    """

    title: str
    synthetic: str
    real: str
    seed: int
    metrics: Sequence[Mapping[str, float]]
    facts: Mapping[str, str]


def write_report(path: Path, found: Evaluation, origin: Origin) -> None:
    """Write ``report.html``, a single file that opens from disk without a network.

    Args:
        path: the file to write.
        found: the evaluation.
        origin: origin of the refiner.

    Raises:
        OutputError: the file cannot be written.
    """
    worst, random = _galleries(found, origin.seed)
    galleries = [
        {"title": "Largest drift", "note": "These labels are the most likely to be wrong.", "pairs": worst},
        {"title": "Random images", "note": "These images show typical results of refining.", "pairs": random},
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
        shown=random[0],
        galleries=galleries,
        metrics=found.metrics,
        curves=training_curves(origin.metrics),
        facts={**origin.facts, "versions": json.dumps(versions, indent=1)},
        data=_embedded([[_shown(pair) for pair in pairs] for pairs in (worst, random)]),
    )
    write_text(path, text)


def _galleries(found: Evaluation, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs with the largest drift scores, and random pairs."""
    scores = torch.tensor([drift.score for drift in found.drifts.values()])
    worst = scores.argsort(descending=True)[:SHOWN].tolist()
    random = numpy_generator(seed, "gallery").permutation(len(scores))[:SHOWN].tolist()
    return _pairs(found, worst), _pairs(found, random)


def _pairs(found: Evaluation, numbers: Sequence[int]) -> list[Pair]:
    names, drifts = list(found.drifts), list(found.drifts.values())
    # Show the nearest real image with each pair, because a refiner may copy it.
    neighbours = nearest(found.refined[numbers], found.real)
    return [
        Pair(
            names[number],
            grey_uri(found.synthetic[number]),
            grey_uri(found.refined[number]),
            difference_uri(found.synthetic[number], found.refined[number]),
            grey_uri(found.real[int(neighbours.numbers[index])]),
            drifts[number],
            float(neighbours.distances[index]),
        )
        for index, number in enumerate(numbers)
    ]


def _shown(pair: Pair) -> dict[str, Any]:
    """Return the fields of a pair that the script of the page reads."""
    drift = pair.drift
    return {**pair._asdict(), "drift": None, "sentence": drift.sentence(), "score": drift.score}


def write_turing_test(path: Path, found: Evaluation, *, trials: int, seed: int) -> None:
    """Write ``turing.html``: labelled examples, then guesses in random order, half of each kind.

    No picture is both an example and a guess.

    Args:
        path: the file to write.
        found: the evaluation whose images are shown.
        trials: number of guesses; fewer if there are too few images.
        seed: seed of the draw.

    Raises:
        OutputError: the file cannot be written.
    """
    # Draw the pictures of each kind.
    rng = numpy_generator(seed, "turing-test")
    sides = {
        name: [grey_uri(images[number]) for number in rng.permutation(len(images))[: EXAMPLES + trials]]
        for name, images in (("real", found.real), ("refined", found.refined))
    }
    # The first ones are examples, the rest are guesses.
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
        real=sides["real"][:EXAMPLES],
        refined=sides["refined"][:EXAMPLES],
        data=_embedded({"id": hashlib.sha256(json.dumps(shuffled).encode()).hexdigest()[:16], "trials": shuffled}),
    )
    write_text(path, text)


def _render(name: str, **values: Any) -> str:
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    script = (TEMPLATES / f"{name}.js").read_text(encoding="utf-8")
    return templates.get_template(f"{name}.html").render(style=style, script=script, **values)


def _embedded(data: Any) -> str:
    """Return JSON in which no file name can close the script element."""
    return json.dumps(data).replace("<", "\\u003c")
