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
from refiner.data.drift.table import LabelDrift
from refiner.evaluation.evaluate import Evaluation
from refiner.evaluation.verdict import MAX_DRIFT
from refiner.metrics.memorization import nearest
from refiner.report.curves import training_curves
from refiner.report.objects import ObjectSections
from refiner.report.overlays import NO_OVERLAY, OverlaySource
from refiner.report.pictures import Pictures, Triple, data_uri, difference_uri

TEMPLATES = Path(__file__).parent / "templates"

SHOWN = 12
"""Number of triples in a gallery: a render, its refined image and the nearest real image."""

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
        step: training step whose weights were evaluated; empty if it is unknown.
    """

    title: str
    synthetic: str
    real: str
    seed: int
    metrics: Sequence[Mapping[str, float]]
    facts: Mapping[str, str]
    step: str = ""


def write_report(
    path: Path,
    found: Evaluation,
    origin: Origin,
    pictures: Pictures,
    *,
    overlays: OverlaySource | None = None,
    objects: ObjectSections | None = None,
) -> None:
    """Write ``report.html``, a single file that opens from disk without a network.

    Args:
        path: the file to write.
        found: the evaluation.
        origin: origin of the refiner.
        pictures: the images of the evaluation.
        overlays: the labels of the renders; None shows none.
        objects: the parts on objects; None if the renders have none.

    Raises:
        OutputError: the file cannot be written.
    """
    random, worst = _galleries(found, pictures, overlays, origin.seed)
    galleries = [
        {"title": "Typical images", "note": "A random choice.", "triples": random},
        {
            "title": "Largest label drift",
            "note": "The labels of these images are the most likely to be wrong.",
            "triples": worst,
        },
    ]
    versions = environment()["versions"]
    text = _render(
        "report",
        title=origin.title,
        synthetic=origin.synthetic,
        real=origin.real,
        seed=origin.seed,
        step=origin.step,
        count=len(found.drifts),
        real_count=len(found.real),
        version=versions.get("simgan-refiner"),
        verdict=found.verdict,
        verdict_class=CLASSES[found.verdict.decision],
        notes=found.notes,
        gaps=[(metric.name, metric.gap_closed) for metric in found.metrics if metric.gap_closed is not None],
        stayed=sum(drift.known and drift.score <= MAX_DRIFT for drift in found.drifts.values()),
        unknown=sum(not drift.known for drift in found.drifts.values()),
        limit=MAX_DRIFT,
        shown=random[0],
        galleries=galleries,
        objects=objects,
        labelled=any(triple.overlay.body for triple in (*random, *worst)),
        metrics=found.metrics,
        curves=training_curves(origin.metrics),
        facts={**origin.facts, "versions": json.dumps(versions, indent=1)},
        data=_embedded([[_fields(triple) for triple in triples] for triples in (random, worst)]),
    )
    write_text(path, text)


def _galleries(
    found: Evaluation, pictures: Pictures, overlays: OverlaySource | None, seed: int
) -> tuple[list[Triple], list[Triple]]:
    """Return random triples, and those with the largest drift scores; an unknown drift may be of any size."""
    scores = torch.tensor([drift.score if drift.known else torch.inf for drift in found.drifts.values()])
    random = numpy_generator(seed, "gallery").permutation(len(scores))[:SHOWN].tolist()
    worst = scores.argsort(descending=True)[:SHOWN].tolist()
    return _triples(found, pictures, overlays, random), _triples(found, pictures, overlays, worst)


def _triples(
    found: Evaluation, pictures: Pictures, overlays: OverlaySource | None, numbers: Sequence[int]
) -> list[Triple]:
    names, drifts = list(found.drifts), list(found.drifts.values())
    # Show the nearest real image with each pair: as the goal, and because a refiner may copy it.
    neighbours = nearest(found.refined[numbers], found.real)
    images = [
        pictures.synthetic(numbers),
        pictures.refined(numbers),
        pictures.real(neighbours.numbers.tolist()),
    ]
    return [
        Triple(
            names[number],
            data_uri(before),
            data_uri(after),
            difference_uri(before, after),
            data_uri(real),
            drifts[number],
            float(neighbours.distances[index]),
            NO_OVERLAY if overlays is None else overlays.of(names[number]),
        )
        for index, (number, before, after, real) in enumerate(zip(numbers, *images, strict=True))
    ]


def _fields(triple: Triple) -> dict[str, Any]:
    """Return the fields of a triple that the script of the page reads; it finds the other pictures on the page."""
    fields = {"name": triple.name, "difference": triple.difference, "distance": triple.distance}
    return {**fields, "sentence": _sentence(triple.drift)}


def _sentence(drift: LabelDrift) -> str:
    return f"{drift.sentence()} (score {drift.score:.2f})" if drift.known else "label drift unknown"


def write_turing_test(path: Path, found: Evaluation, pictures: Pictures, *, trials: int, seed: int) -> None:
    """Write ``turing.html``: labelled examples, then guesses in random order, half of each kind.

    No picture is both an example and a guess.

    Args:
        path: the file to write.
        found: the evaluation whose images are shown.
        pictures: the images of the evaluation.
        trials: number of guesses; fewer if there are too few images.
        seed: seed of the draw.

    Raises:
        OutputError: the file cannot be written.
    """
    # Draw the pictures of each kind.
    rng = numpy_generator(seed, "turing-test")
    sides = {
        name: [data_uri(picture) for picture in read(rng.permutation(count)[: EXAMPLES + trials].tolist())]
        for name, read, count in (
            ("real", pictures.real, len(found.real)),
            ("refined", pictures.refined, len(found.refined)),
        )
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
    text = templates.get_template(f"{name}.html").render(style=style, script=script, **values)
    # A file name that is no UTF-8 was read as surrogates, which no page can hold.
    return text.encode("utf-8", "replace").decode("utf-8")


def _embedded(data: Any) -> str:
    """Return JSON in which no file name can close the script element."""
    return json.dumps(data).replace("<", "\\u003c")
