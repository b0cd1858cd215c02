"""Cases of the fuzzer with annotated folders: COCO through the commands, judged object by object."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from annotated import Annotated, annotate, moved_box, pixels_of, read_annotations, thing_problems
from choices import pick
from click.testing import Result
from labelled import read
from oracle import Change

if TYPE_CHECKING:
    from value_cases import ValueCase

ROUTES = ("direct", "store", "table")
"""Ways of a conversion: at once, over a store, or over a folder with all labels in ``labels.csv``."""


def convert_annotations(case: "ValueCase") -> Iterator[str]:
    """Convert COCO to COCO, at once or over something else, with a change in one of the steps."""
    annotated = annotate(case.source, case.folder, case.rng)
    route = str(pick(ROUTES, case.rng))
    change, options = case.change()
    said, complete = case.declarations(change)
    plain = not annotated.unlisted and not annotated.orphans and case.folder.is_plain and complete
    steps: list[tuple[Path, Path, list[str]]] = [(case.source, case.sandbox / "out", [*options, *said])]
    if route != "direct":
        middle = case.sandbox / ("middle.h5" if route == "store" else "middle")
        first_changes = bool(case.rng.random() < 0.5)
        before, after = ([*options, *said], []) if first_changes else ([], [*options, *said])
        to = ["--to", "folder"] if route == "table" else []
        steps = [(case.source, middle, [*before, *to]), (middle, case.sandbox / "out", [*after, "--to", "coco"])]
    results: list[Result] = []
    for source, out, further in steps:
        results.append(case.run("convert", source, out, "--workers", 1, *further))
        if results[-1].exit_code not in (0, 4):
            several = "images of several sizes" in results[-1].stderr  # a store holds one kind
            yield from case.refusal(results[-1], plain=plain and not several)
            return
    if results[0].exit_code == 0 and annotated.orphans:
        yield f"status 0 with {annotated.orphans} without image"
    if annotated.unlisted and not case.folder.schema and "no entry" not in results[0].stderr:
        yield f"{annotated.unlisted} have no entry, and are not named"
    losses = least_losses(case, annotated, change)
    if not any(re.search(r"[1-9][\d,]* rejected", result.stdout) for result in results):
        yield from loss_problems(losses, results)
    certain = plain and not losses.any_unclear and not losses.keypoints and not losses.masks
    if certain and any(result.exit_code for result in results) and not any("rejected" in r.stdout for r in results):
        yield f"statuses {[result.exit_code for result in results]} without any oddity: {results[-1].stderr[-200:]!r}"
    yield from judge(case, annotated, change, results)


class LossCount(NamedTuple):
    """Numbers of objects, keypoints and masks that a change loses, and whether a border makes one uncertain."""

    objects: int
    keypoints: int
    masks: int
    any_unclear: bool


_SAID = {
    "objects": r"([\d,]+) objects? (?:is|are) outside of the crop",
    "keypoints": r"([\d,]+) keypoints? of",
    "masks": r"([\d,]+) objects? (?:has|have) (?:a mask|masks) without any pixel",
}


def least_losses(case: "ValueCase", annotated: Annotated, change: Change) -> LossCount:
    """Count what a change loses of the annotations."""
    objects = keypoints = masks = 0
    unclear = False
    for name, things in annotated.things.items():
        shape = case.folder.samples[name].image.shape
        size = change.size or change.crop or shape[:2]
        for thing in things if name not in annotated.unlisted else ():
            box = moved_box(thing.box, change, shape)
            unclear |= box is not None and min(box[2:]) < 1e-5
            if box is None:
                objects += 1
                continue
            if thing.keypoints and change.crop is not None:
                x, y = change.point(*thing.keypoints[:2], shape)
                inside = [x + 0.5, y + 0.5, size[1] - 0.5 - x, size[0] - 0.5 - y]
                unclear |= bool(min(map(abs, inside)) < 1e-5)
                keypoints += min(inside[:2]) < 0 or min(inside[2:]) <= 0
            if thing.shape in ("mask", "runs"):
                before = pixels_of(thing, (shape[0], shape[1]))
                low, high = (change.nearest(before, tie) for tie in (-1e-9, 1e-9))
                unclear |= not np.array_equal(low, high)
                masks += not low.any()
    return LossCount(objects, keypoints, masks, unclear)


def loss_problems(losses: LossCount, results: list[Result]) -> Iterator[str]:
    """Compare the losses with what the commands say and with their status."""
    said = {
        kind: sum(int(number.replace(",", "")) for r in results for number in re.findall(pattern, r.stderr))
        for kind, pattern in _SAID.items()
    }
    wanted = {kind: getattr(losses, kind) for kind in _SAID}
    if said != wanted and not losses.any_unclear:
        yield f"lost {wanted}, but said {said}"
    if (said["keypoints"] or said["masks"]) and not any(result.exit_code == 4 for result in results):
        yield f"status 0 with losses {said}"


def judge(case: "ValueCase", annotated: Annotated, change: Change, results: list[Result]) -> Iterator[str]:
    """Compare the images and objects of a folder with what they should be."""
    out = case.sandbox / "out"
    images, things = read_annotations(out)
    pictures = {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and ".refiner" not in path.parts and path.suffix.lower() not in (".csv", ".json")
    }
    if strays := images.keys() - pictures:
        yield f"{sorted(strays)[:2]} are annotated, but not there"
    for name, sample in case.folder.samples.items():
        written = [each for each in (name, f"{name.rpartition('.')[0]}.png", f"{name}.png") if each in pictures]
        if not written:
            if not any(result.exit_code == 4 for result in results):
                yield f"{name} is missing with status 0"
            continue
        if name in annotated.unlisted:
            if any(things.get(each) for each in written):
                yield f"{name} has objects from nowhere"
            continue
        mine = next((each for each in written if each in images), None)
        if mine is None:
            yield f"{name} is not annotated, statuses {[result.exit_code for result in results]}"
            continue
        shape = read(out / mine).shape
        if (images[mine]["height"], images[mine]["width"]) != shape[:2] or "flickr_url" not in images[mine]:
            yield f"{name}: {images[mine]} for an image of {shape}"
        for problem in thing_problems(annotated.things[name], things[mine], change, sample.image.shape):
            yield f"{name}: {problem}"


def refine_annotations(case: "ValueCase") -> Iterator[str]:
    """Refine a folder with annotations, which stay byte for byte."""
    annotated = annotate(case.source, case.folder, case.rng)
    before = (case.source / annotated.file).read_bytes()
    out = case.sandbox / "out"
    options = ["--device", "cpu", "--backend", "torch", "--workers", "1"]
    result = case.run("refine", case.source, out, "--refiner", case.tools.refiner, *options)
    plain = not annotated.unlisted and not annotated.orphans and case.folder.is_plain
    if result.exit_code not in (0, 4):
        yield from case.refusal(result, plain=plain)
        return
    if not (out / annotated.file).exists() or (out / annotated.file).read_bytes() != before:
        yield f"{annotated.file} was changed, status {result.exit_code}"
    for name in case.folder.samples:
        if not (out / name).exists() and result.exit_code == 0:
            yield f"{name} is missing with status 0"
    inspected = case.run("inspect", out, "--json")
    if inspected.exit_code == 0 and plain:
        objects = json.loads(inspected.stdout)["objects"]
        count = sum(map(len, annotated.things.values()))
        if objects is None or objects["count"] != count:
            yield f"inspect counts {objects and objects['count']} objects, not {count}"
