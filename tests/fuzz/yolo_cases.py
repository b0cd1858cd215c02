"""Cases of the fuzzer that write COCO as YOLO: the box around each line is compared with formulas of its own."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from annotated import Annotated, Thing, annotate, moved_box, pixels_of
from oracle import Change

if TYPE_CHECKING:
    from value_cases import ValueCase

Box = list[float]
"""x, y, width and height in pixels."""


def convert_to_yolo(case: "ValueCase") -> Iterator[str]:
    """Convert COCO to YOLO, with boxes and outlines that reach beyond their images, and a change."""
    annotated = annotate(case.source, case.folder, case.rng, beyond=True)
    change, options = case.change()
    said, complete = case.declarations(change)
    plain = not annotated.unlisted and not annotated.orphans and case.folder.is_plain and complete
    out = case.sandbox / "out"
    result = case.run("convert", case.source, out, "--workers", 1, "--to", "yolo", *options, *said)
    if result.exit_code not in (0, 4):
        yield from case.refusal(result, plain=plain and "would share the label file" not in result.stderr)
        return
    names = yaml.safe_load((out / "data.yaml").read_text(encoding="utf-8"))["names"]
    kind = _kind(case, annotated, change)
    for name, sample in case.folder.samples.items():
        stem = PurePosixPath(name).with_suffix("")
        texts = [out / "labels" / f"{each}.txt" for each in (stem, name)]
        text = next((path for path in texts if path.exists()), None)
        if name in annotated.unlisted or name in _rejected(out):
            continue
        if text is None:
            yield f"{name} has no text file, status {result.exit_code}"
            continue
        shape = (sample.image.shape[0], sample.image.shape[1])
        lines = [line.split() for line in text.read_text().splitlines()]
        found = [(names[int(line[0])], _box_of(line[1:], kind, change.size or change.crop or shape)) for line in lines]
        for problem in _problems(annotated.things[name], found, kind, change, shape):
            yield f"{name} ({kind}): {problem}, status {result.exit_code}"
        if len(found) < len(annotated.things[name]) and not any(
            words in result.stderr for words in ("outside of", "are left out", "is left out")
        ):
            yield f"{name}: objects were lost in silence"


def _rejected(out: Any) -> str:
    path = out / "rejected.csv"
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""


def _kind(case: "ValueCase", annotated: Annotated, change: Change) -> str:
    """Return the kind of all lines, from the objects that a crop leaves in any image."""
    left = [
        thing
        for name, things in annotated.things.items()
        for thing in things
        if name not in annotated.unlisted and moved_box(thing.box, change, case.folder.samples[name].image.shape)
    ]
    if any(thing.keypoints for thing in left):
        return "poses"
    return "boxes" if all(thing.shape == "box" for thing in left) else "outlines"


def _box_of(values: list[str], kind: str, size: tuple[int, int]) -> Box:
    numbers = np.array(values, float)
    if kind == "outlines":
        points = numbers.reshape(-1, 2) * size[::-1]
        return [*points.min(axis=0), *(points.max(axis=0) - points.min(axis=0))]
    x, y, width, height = numbers[:4] * np.tile(size[::-1], 2)
    return [x - width / 2, y - height / 2, width, height]


def _wanted(thing: Thing, kind: str, change: Change, shape: tuple[int, int]) -> Box | str | None:
    """Return the box around the line of an object; None if it has no line, and a text if that is not certain."""
    size = change.size or change.crop or shape
    box = moved_box(thing.box, change, shape)
    if box is None:
        return None
    if kind == "outlines" and thing.shape in ("mask", "runs"):
        low, high = (change.nearest(pixels_of(thing, shape), tie) for tie in (-1e-9, 1e-9))
        if not np.array_equal(low, high):
            return "unclear"
        if low.any():
            rows, columns = np.nonzero(low)
            return [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    middle = (box[0] + box[2] / 2) / size[1], (box[1] + box[3] / 2) / size[0]
    shares = (*middle, box[2] / size[1], box[3] / size[0])
    if any(min(abs(share), abs(share - 1)) < 1e-6 for share in shares[:2]):
        return "unclear"
    if kind != "outlines" and all(0 <= share <= 1 + 1e-9 for share in shares):
        return box
    left, top = max(box[0], 0), max(box[1], 0)
    width, height = min(box[0] + box[2], size[1]) - left, min(box[1] + box[3], size[0]) - top
    if min(abs(width), abs(height)) < 1e-5:
        return "unclear"
    return [left, top, width, height] if min(width, height) > 0 else None


def _problems(
    things: list[Thing], found: list[tuple[str, Box]], kind: str, change: Change, shape: tuple[int, int]
) -> Iterator[str]:
    wanted = {thing.id: (thing, _wanted(thing, kind, change, shape)) for thing in things}
    if any(isinstance(box, str) for _, box in wanted.values()):
        return
    left = list(found)
    for thing, box in wanted.values():
        if box is None:
            continue
        mine = next((each for each in left if each[0] == thing.category and np.allclose(each[1], box, atol=1e-3)), None)
        if mine is None:
            yield f"object {thing.id} ({thing.shape}) at {np.round(box, 3)} has no line among {left}"
        else:
            left.remove(mine)
    if left and len(found) > sum(box is not None for _, box in wanted.values()):
        yield f"{left} came from nowhere"
