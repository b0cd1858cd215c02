"""Annotations in COCO of a labelled folder, and what they should be after a change, by formulas of the fuzzer's own.

Outlines are rectangles, so that a crop cuts them into rectangles again. Masks are judged pixel by pixel.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from choices import Random, pick
from labelled import Folder
from oracle import Change
from pycocotools import mask as coco_mask

CLASSES = ("cup", "fork", "Löffel", "a,b", 'd"q', "trailing ")

FILES = ("coco_annotations.json", "annotations/instances.json", "labels.json")


class Thing(NamedTuple):
    """One object.

    Attributes:
        id: its id in the file.
        category: name of its class.
        box: x, y, width, height.
        shape: ``box`` if it has no other shape, ``outline``, ``mask`` or ``runs`` (run lengths as numbers).
        keypoints: x, y and visibility of two keypoints; empty for none.
        note: a field that no format knows.
    """

    id: int
    category: str
    box: list[float]
    shape: str
    keypoints: list[float]
    note: Any


class Annotated(NamedTuple):
    """The annotations of a folder.

    Attributes:
        file: name of the file.
        things: objects by the name of the image.
        unlisted: images that the file does not name.
        orphans: images that it names and that do not exist.
    """

    file: str
    things: dict[str, list[Thing]]
    unlisted: list[str]
    orphans: list[str]


def annotate(root: Path, folder: Folder, rng: Random, *, beyond: bool = False) -> Annotated:
    """Write COCO annotations of a folder, and return them; ``beyond`` moves some boxes over the borders of images."""
    number, things = int(rng.integers(1, 900)), {}
    for name, sample in folder.samples.items():
        size = sample.image.shape[0], sample.image.shape[1]
        things[name] = [_thing(number + place, size, rng) for place in range(int(rng.integers(0, 5)))]
        if beyond:
            things[name] = [_shifted(thing, size, rng) for thing in things[name]]
        number += len(things[name]) + int(rng.integers(0, 3))
    odd = rng.random() < 0.15
    unlisted = [name for name in things if odd and rng.random() < 0.3]
    orphans = ["gone.png"] if odd and rng.random() < 0.5 else []
    annotated = Annotated(str(pick(FILES, rng)), things, unlisted, orphans)
    _write(root, folder, annotated, rng)
    return annotated


def _thing(number: int, size: tuple[int, int], rng: Random) -> Thing:
    height, width = size
    shape = str(pick(["box", "outline", "mask", "runs"], rng))
    x, y = int(rng.integers(0, width - 2)), int(rng.integers(0, height - 2))
    box = [x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))]
    if shape in ("box", "outline") and rng.random() < 0.6:  # not on the borders of pixels
        box = np.round([x + 0.13, y + 0.57, box[2] * 0.7, box[3] * 0.4], 2).tolist()
    keypoints: list[float] = []
    if rng.random() < 0.4:
        inside = [round(float(rng.uniform(0, side - 1)), 1) for side in (width, height)]
        keypoints = [*inside, int(pick([1, 2], rng)), 0, 0, 0]
    note = pick([None, "ü", 3, {"deep": [1.5, None]}], rng)
    return Thing(number, str(pick(CLASSES, rng)), box, shape, keypoints, note)


def _shifted(thing: Thing, size: tuple[int, int], rng: Random) -> Thing:
    """Return an object over the border of its image, or outside of it, if it has no mask."""
    if thing.shape not in ("box", "outline") or rng.random() < 0.5:
        return thing
    x, y = (float(rng.integers(-side, side)) for side in size[::-1])
    return thing._replace(box=[thing.box[0] + x, thing.box[1] + y, *thing.box[2:]])


def pixels_of(thing: Thing, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Return the mask of an object whose box has whole numbers, (H, W), 0 or 1."""
    x, y, width, height = (int(value) for value in thing.box)
    mask = np.zeros(size, np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def _write(root: Path, folder: Folder, annotated: Annotated, rng: Random) -> None:
    numbers = {name: 1 + 7 * place for place, name in enumerate([*annotated.things, *annotated.orphans])}
    classes = {name: int(number) for name, number in zip(CLASSES, rng.permutation(50), strict=False)}
    images, annotations = [], []
    for name, number in numbers.items():
        if name in annotated.unlisted:
            continue
        sample = folder.samples.get(name)
        height, width = (9, 9) if sample is None else sample.image.shape[:2]
        images.append({"id": number, "file_name": name, "height": height, "width": width, "flickr_url": None})
        for thing in annotated.things.get(name, ()):
            annotation: dict[str, Any] = {"id": thing.id, "image_id": number, "category_id": classes[thing.category]}
            annotation |= {"bbox": thing.box, "area": thing.box[2] * thing.box[3], "iscrowd": 0, "note": thing.note}
            x, y, width_of, height_of = thing.box
            if thing.shape == "outline":
                right, bottom = x + width_of, y + height_of
                annotation["segmentation"] = [[x, y, right, y, right, bottom, x, bottom]]
            elif thing.shape != "box":
                annotation["segmentation"] = _runs(pixels_of(thing, (height, width)), thing.shape)
            if thing.keypoints:
                annotation |= {"keypoints": thing.keypoints, "num_keypoints": 1}
            annotations.append(annotation)
    whole = {
        "info": {"year": 2024},
        "images": images,
        "annotations": [annotations[place] for place in rng.permutation(len(annotations))],
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in classes.items()],
    }
    (root / annotated.file).parent.mkdir(parents=True, exist_ok=True)
    (root / annotated.file).write_text(json.dumps(whole, ensure_ascii=bool(rng.random() < 0.5)), encoding="utf-8")


def _runs(mask: np.ndarray[Any, Any], form: str) -> dict[str, Any]:
    if form == "mask":
        return {"size": list(mask.shape), "counts": coco_mask.encode(np.asfortranarray(mask))["counts"].decode()}
    counts, last = [0], 0
    for value in mask.T.ravel():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


class FoundThing(NamedTuple):
    """An object in a COCO file that was written."""

    category: str
    values: dict[str, Any]


def read_annotations(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, list[FoundThing]]]:
    """Read the COCO files of a folder with json alone; return images and objects by the names of the images."""
    images: dict[str, dict[str, Any]] = {}
    things: dict[str, list[FoundThing]] = {}
    for path in sorted(folder.rglob("*.json")):
        if ".refiner" in path.parts or path.name == "labels.info.json":
            continue
        whole = json.loads(path.read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in whole["categories"]}
        by_id = {image["id"]: image["file_name"] for image in whole["images"]}
        images |= {image["file_name"]: image for image in whole["images"]}
        things |= {name: things.get(name, []) for name in by_id.values()}
        for values in whole["annotations"]:
            things[by_id[values["image_id"]]].append(FoundThing(names[values["category_id"]], values))
    return images, things


def thing_problems(things: list[Thing], found: list[FoundThing], change: Change, shape: tuple[int, ...]) -> list[str]:
    """Compare the objects of an image with what they should be."""
    size = change.size or change.crop or (shape[0], shape[1])
    left = {each.values["id"]: each for each in found}
    problems = []
    for thing in things:
        box = moved_box(thing.box, change, shape)
        mine = left.pop(thing.id, None)
        if box is None or mine is None:
            if (box is None) != (mine is None) and not _is_sliver(box):
                problems.append(f"object {thing.id} {'was lost' if mine is None else 'is outside, but there'}")
            continue
        if problem := _thing_problem(thing, box, mine, change, (shape[0], shape[1]), size):
            problems.append(f"object {thing.id} ({thing.shape}): {problem}")
    return problems + [f"object {number} came from nowhere" for number in left]


def moved_box(box: list[float], change: Change, shape: tuple[int, ...]) -> list[float] | None:
    """Return a box after the change, cut at the border of the crop; None if nothing is left."""
    (top, left), (down, across) = change.corner(shape), change.scale(shape)
    height, width = change.crop or (shape[0], shape[1])
    x, y, right, bottom = box[0] - left, box[1] - top, box[0] + box[2] - left, box[1] + box[3] - top
    if change.crop is not None:
        x, y, right, bottom = max(x, 0), max(y, 0), min(right, width), min(bottom, height)
    if right <= x or bottom <= y:
        return None
    return [x * across, y * down, (right - x) * across, (bottom - y) * down]


def _is_sliver(box: list[float] | None) -> bool:
    return box is not None and min(box[2:]) < 1e-5


def _thing_problem(
    thing: Thing, box: list[float], found: FoundThing, change: Change, before: tuple[int, int], size: tuple[int, int]
) -> str | None:
    values = found.values
    if found.category != thing.category:
        return f"its class is {found.category!r}, not {thing.category!r}"
    if values.get("note") != thing.note or values.get("iscrowd") != 0:
        return f"further fields changed: {values}"
    if not np.allclose(values["bbox"], box, atol=2e-5):
        return f"its box is {values['bbox']}, not {box}"
    if not np.isclose(values["area"], box[2] * box[3], rtol=1e-3, atol=1e-3) and thing.shape in ("box", "outline"):
        return f"its area is {values['area']}, not {box[2] * box[3]}"
    if thing.keypoints:
        x, y = change.point(*thing.keypoints[:2], before)
        outside = change.crop is not None and not (-0.5 <= x < size[1] - 0.5 and -0.5 <= y < size[0] - 0.5)
        wanted = [0, 0, 0] if outside else [x, y, thing.keypoints[2]]
        if not np.allclose(values["keypoints"], [*wanted, 0, 0, 0], atol=2e-5):
            return f"its keypoints are {values['keypoints']}, not {wanted}"
    if thing.shape == "box":
        return None if not values.get("segmentation") else f"it has the shape {values['segmentation']}"
    if thing.shape == "outline":
        points = np.array(values["segmentation"][0], float).reshape(-1, 2)
        corners = [*points.min(axis=0), *(points.max(axis=0) - points.min(axis=0))]
        return None if np.allclose(corners, box, atol=2e-5) else f"its outline covers {corners}, not {box}"
    return _mask_problem(pixels_of(thing, before), values["segmentation"], change, thing.shape)


def _mask_problem(before: np.ndarray[Any, Any], found: dict[str, Any], change: Change, form: str) -> str | None:
    if isinstance(found["counts"], list) != (form == "runs"):
        return "its run lengths have another form"
    runs = coco_mask.frPyObjects(found, *found["size"]) if form == "runs" else found
    pixels = coco_mask.decode(runs)
    low, high = (change.nearest(before, tie) for tie in (-1e-9, 1e-9))
    if pixels.shape != low.shape or not ((pixels == low) | (pixels == high)).all():
        return f"its mask is another one: {int(pixels.sum())} pixels, not {int(low.sum())}"
    return None
