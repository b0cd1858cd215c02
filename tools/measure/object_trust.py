"""Measure how well the drift score of objects separates broken from intact labels: python -m tools.measure.object_trust

Faults of known size are planted in drawn scenes of many objects, see :mod:`tools.measure.object_scene`. Harmless
changes, as a good refiner makes them, are made in both. Writes results/object_trust.json, a table into
docs/evaluation.md between its markers, and a contact sheet if asked. Takes about two minutes on two cores.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from refiner.core.environment import environment
from refiner.core.files import write_text
from refiner.data.drift.background import score_background
from refiner.data.drift.objects import score_objects
from refiner.evaluation.verdict import MAX_DRIFT
from refiner.images.arrays import contact_sheet, to_uint8
from refiner.images.io import write_image
from tools.measure.object_scene import KINDS, SIZE, Array, Generator, Scene, draw_scene, random_colours
from tools.pages.markers import fill_tables, tables_of

ANY_PATH = click.Path(path_type=Path)

SEEDS = (11, 12, 13)
SCENES = 30
"""Number of scenes for each seed."""

OBJECTS = (0, 4, 8, 11)
"""The objects of a scene in which faults are planted, one after the other."""

RESAMPLED = 1000

Values = np.ndarray[Any, np.dtype[np.floating[Any]]]


def _moved(pixels: float) -> Callable[[Scene, int, Generator], Scene]:
    def fault(scene: Scene, number: int, rng: Generator) -> Scene:
        angle, shape = rng.uniform(0, 2 * np.pi), scene.shapes[number]
        return scene.changed(number, x=shape.x + pixels * np.cos(angle), y=shape.y + pixels * np.sin(angle))

    return fault


def _erased(scene: Scene, number: int, rng: Generator) -> Scene:
    return scene.without(number)


def _recoloured(scene: Scene, number: int, rng: Generator) -> Scene:
    colours = scene.shapes[number].colours
    hsv = cv2.cvtColor((colours[None] * 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(int)
    hsv[..., 0] = (hsv[..., 0] + int(rng.choice([40, 90, 140]))) % 180
    rgb = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    return scene.changed(number, colours=np.asarray(rgb / 255, np.float32))


def _swapped(scene: Scene, number: int, rng: Generator) -> Scene:
    other = [kind for kind in KINDS if kind != scene.shapes[number].kind]
    return scene.changed(number, kind=str(rng.choice(other)), colours=random_colours(rng), angle=rng.uniform(0, np.pi))


def _duplicated(scene: Scene, number: int, rng: Generator) -> Scene:
    """Copy the object to a free place."""
    shape, (height, width) = scene.shapes[number], SIZE
    for _ in range(1000):
        x, y = rng.uniform(shape.radius, width - shape.radius), rng.uniform(shape.radius, height - shape.radius)
        if all(np.hypot(x - each.x, y - each.y) > 0.9 * (shape.radius + each.radius) for each in scene.shapes):
            return Scene(scene.background, (*scene.shapes, replace(shape, x=x, y=y)))
    return scene  # no place is free: the fault stays unnoticed


FAULTS: dict[str, Callable[[Scene, int, Generator], Scene]] = {
    "moved by 1 px": _moved(1),
    "moved by 2 px": _moved(2),
    "moved by 3 px": _moved(3),
    "erased": _erased,
    "recoloured": _recoloured,
    "swapped with another object": _swapped,
    "duplicated": _duplicated,
}
"""Changes of one object of a scene, by its number."""


def harmless(image: Array, rng: Generator) -> Array:
    """Change an image, (3, H, W), as a good refiner does: blur, light, contrast and tone, and noise."""
    height, width = image.shape[1:]
    changed = np.asarray(cv2.GaussianBlur(image.transpose(1, 2, 0), (0, 0), rng.uniform(0.4, 1.0)), np.float32)
    rows, columns = np.mgrid[:height, :width]
    angle = rng.uniform(0, 2 * np.pi)
    slope = (columns / width - 0.5) * np.cos(angle) + (rows / height - 0.5) * np.sin(angle)
    light = 1 + rng.uniform(0, 0.3) * slope[..., None]
    gains, offsets = rng.uniform(0.65, 1.2, 3), rng.uniform(-0.15, 0.15, 3)
    changed = (changed + 1) * light * gains - 1 + offsets + rng.normal(0, rng.uniform(0.02, 0.08), changed.shape)
    return np.ascontiguousarray(np.clip(changed, -1, 1).transpose(2, 0, 1), np.float32)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--results", type=ANY_PATH, default="results/object_trust.json", help="File of the results.")
@click.option("--page", type=ANY_PATH, default="docs/evaluation.md", help="Page with the markers.")
@click.option("--sheet", type=ANY_PATH, help="PNG with a scene and its faults, to look at.")
def main(results: Path, page: Path, sheet: Path | None) -> None:
    """Measure, and write the results and the table of the page."""
    if sheet is not None:
        write_image(sheet, contact_sheet(_pictures(), scale=1))
    scores: dict[str, list[Values]] = {}
    for seed in SEEDS:
        for name, found in _measure(seed).items():
            scores.setdefault(name, []).append(found)
    facts = {
        "command": "object_trust",
        "environment": environment(),
        "seeds": list(SEEDS),
        "scenes": SCENES * len(SEEDS),
        "limit": MAX_DRIFT,
        "faults": {name: _facts(*_against(name, scores)) for name in ("none", "no new object", *FAULTS)},
    }
    write_text(results, json.dumps(facts, indent=1) + "\n")
    text = page.read_text(encoding="utf-8")
    text, _ = fill_tables(text, tables_of(text) | {"objects": table(facts)}, str(page))
    write_text(page, text)
    print(page)


def _measure(seed: int) -> dict[str, Values]:
    """Return the scores by fault: of each object, or of the background where an object was added."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in ("none", "no new object", *FAULTS)}
    for _ in range(SCENES):
        scene = draw_scene(rng)
        image, labels = scene.draw(), scene.labels()
        after = harmless(image, rng)
        found["none"] += [each.score for each in score_objects(image, after, labels) if each.known]
        found["no new object"].append(score_background(image, after, labels))
        for name, fault in FAULTS.items():
            for number in OBJECTS:
                broken = harmless(fault(scene, number, rng).draw(), rng)
                if name == "duplicated":
                    found[name].append(score_background(image, broken, labels))
                else:
                    found[name] += [each.score for each in score_objects(image, broken, [labels[number]]) if each.known]
    return {name: np.array(some) for name, some in found.items()}


def _against(name: str, scores: dict[str, list[Values]]) -> tuple[list[Values], list[Values]]:
    return scores["no new object" if name in ("duplicated", "no new object") else "none"], scores[name]


def _facts(intact: list[Values], broken: list[Values]) -> dict[str, Any]:
    """Return the area under the ROC with its interval, its value for each seed, and the share above the limit."""
    every = np.concatenate(broken)
    facts = {"count": len(every), "above_limit": float((every > MAX_DRIFT).mean())}
    if intact is broken:
        return facts
    rng = np.random.default_rng(0)
    first = np.concatenate(intact)
    resampled = [area(rng.choice(first, len(first)), rng.choice(every, len(every))) for _ in range(RESAMPLED)]
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
    by_seed = [area(one, other) for one, other in zip(intact, broken, strict=True)]
    return {**facts, "area": area(first, every), "low": low, "high": high, "area_by_seed": by_seed}


def area(intact: Values, broken: Values) -> float:
    """Return the area under the ROC: the share of pairs in which the broken label scores higher; ties count half."""
    order = np.sort(intact)
    below, upto = (np.searchsorted(order, broken, side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(intact))


def table(facts: dict[str, Any]) -> str:
    """Return the table of the page."""
    lines = ["| change of an object | area under the ROC | score above 1 |", "| --- | --- | --- |"]
    names = {"none": "none, beside harmless changes", "no new object": "no new object (score of the background)"}
    for name, found in facts["faults"].items():
        curve = f"{found['area']:.3f} [{found['low']:.3f}, {found['high']:.3f}]" if "area" in found else ""
        lines.append(f"| {names.get(name, name)} | {curve} | {found['above_limit']:.1%} |")
    return "\n".join(lines)


def _pictures() -> list[list[Any]]:
    """Return rows of pictures: a scene, its harmless changes, and each fault with harmless changes."""
    rng = np.random.default_rng(SEEDS[0])
    scene = draw_scene(rng)
    found = [scene.draw(), harmless(scene.draw(), rng)]
    found += [harmless(fault(scene, 0, rng).draw(), rng) for fault in FAULTS.values()]
    pictures = [to_uint8(each) for each in found]
    return [pictures[start : start + 3] for start in range(0, len(pictures), 3)]


if __name__ == "__main__":
    main()
