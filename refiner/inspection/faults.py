"""Find problems of one data set. Each finding has its numbers, the images to look at, and the remedy."""

import shlex
from collections.abc import Iterator, Sequence

import numpy as np

from refiner.data.labels.angles import BEYOND_PI
from refiner.data.labels.table_text import explain_angles
from refiner.images.arrays import EQUALIZED_BELOW
from refiner.inspection.facts import DatasetFacts, Finding, Sign
from refiner.inspection.images import Images

SIGN_CORRELATION = 0.2
"""Correlation of gaze and position above which a sign counts as wrong, if it is also above chance."""

DIM = 0.25
"""Highest level of all images, from 0 to 1, below which they use too little of the range of their type."""

DEGREES = "convert the angles to radians: multiply the columns by pi / 180 (0.0174533)"
"""Remedy for angles in degrees."""

REMEDIES = {
    "images without row": "add their rows, or leave the images out by --exclude",
    "other names": "nothing, if these pairs are right; else write the path of each image below the folder",
    "label images": "nothing, if they are masks: refine and convert copy them; else move them into another folder",
    "unsupported types": "convert them to PNG; until then, they are rejected",
    "files beside images": "write labels into labels.csv if they shall be used; refine and convert copy the files",
    "annotation faults": "correct the annotation files; until then, these labels are not used",
    "annotation oddities": "correct the annotation files; the labels are used, and written as they are",
    "labels given twice": "leave one of the files out by --exclude, or delete it",
    "masks as images": "name the folder that holds the images and the masks; nothing, if these are the images",
    "repeated links": "nothing, if the folder is needed once",
    "excluded": "nothing, if this is as you mean it",
    "unused patterns": "correct the pattern",
}
"""Advice for each kind of report about a folder; see :mod:`refiner.data.folders.left_out`."""


def find_faults(facts: DatasetFacts) -> list[Finding]:
    """Return findings about a data set, the most harmful first; empty if there are none."""
    return [
        *_reading_faults(facts),
        *_angle_faults(facts),
        *_sign_faults(facts),
        *_label_faults(facts),
        *_object_faults(facts),
        *_image_faults(facts),
    ]


def _reading_faults(facts: DatasetFacts) -> Iterator[Finding]:
    if BEYOND_PI in facts.label_error:
        yield Finding("degrees", f"no labels can be read: {facts.label_error}", DEGREES)
    elif facts.label_error:
        yield Finding("labels unreadable", f"no labels can be read: {facts.label_error}", "repair the label table")
    if rejects := sum(reject.count for reject in facts.rejected):
        worst = facts.rejected[0]
        yield Finding(
            "rejected",
            f"{rejects:,} of {facts.sampled:,} images cannot be used; most frequent reason: {worst.reason} "
            f"({worst.count:,})",
            f"{_look_at(worst.examples)}; refine and convert skip them and list them in rejected.csv",
        )


def _angle_faults(facts: DatasetFacts) -> Iterator[Finding]:
    for name, angles in facts.angles.items():
        if not len(angles):
            continue
        largest = np.abs(angles).max(axis=1)
        if name == "gaze" and (behind := int((largest > np.pi / 2).sum())):
            yield Finding(
                "range",
                f"{name} is implausible: {behind:,} of {len(angles):,} look away from the camera (beyond 90 degrees)",
                "check the convention: gaze is (pitch, yaw), and (0, 0) looks into the camera",
            )
        if name == "gaze" and len(angles) > 1 and not angles.std(axis=0).any():
            pitch, yaw = np.degrees(angles[0])
            yield Finding(
                "constant",
                f"{name} is the same in all images: pitch {pitch:.1f}, yaw {yaw:.1f} degrees",
                "check the program that wrote the labels",
            )


def _sign_faults(facts: DatasetFacts) -> Iterator[Finding]:
    # Swapped angles would also show as wrong signs.
    both = [sign for sign in facts.signs if sign.images == "all"]
    if _are_swapped(both):
        across = " and ".join(f"{sign.crosswise:+.2f} with {sign.axis}" for sign in both)
        along = " and ".join(f"{sign.correlation:+.2f}" for sign in both)
        place = "the pupil label" if both[0].source == "pupil" else "the iris found in the image"
        yield Finding(
            "swapped angles",
            f"pitch and yaw of the gaze seem swapped: pitch and yaw correlate {across} of {place} in "
            f"{both[0].count:,} images, but yaw with x and pitch with y only {along}",
            "swap gaze_pitch_rad and gaze_yaw_rad; positive pitch looks up, and positive yaw to the image's left",
        )
        return
    wrong = [sign for sign in facts.signs if _is_wrong(sign)]
    for sign in wrong:
        if sign.images != "all" and any((other.angle, other.images) == (sign.angle, "all") for other in wrong):
            continue  # already reported for all images
        which = "" if sign.images == "all" else f" in images that are {sign.images}"
        place = "the pupil label" if sign.source == "pupil" else "the iris found in the image"
        towards = "left, to smaller x" if sign.angle == "yaw" else "up, to smaller y"
        yield Finding(
            f"sign of {sign.angle}",
            f"the sign of {sign.angle}{which} seems wrong: {sign.angle} grows with {sign.axis} of {place} (correlation "
            f"{sign.correlation:+.2f} in {sign.count:,} images), but a positive {sign.angle} must look {towards}",
            f"negate gaze_{sign.angle}_rad"
            + (", or mirror the image together with its labels" if sign.angle == "yaw" else ""),
        )


def _is_wrong(sign: Sign) -> bool:
    # Two standard deviations of chance suffice, since angles with the right sign correlate negatively.
    return sign.count >= 20 and sign.correlation > max(SIGN_CORRELATION, 2 / sign.count**0.5)


def _are_swapped(signs: Sequence[Sign]) -> bool:
    """True if yaw goes with y and pitch with x, far more than each with its own axis."""
    if len(signs) != 2 or signs[0].count < 20:
        return False
    excess = sum(abs(sign.crosswise) - abs(sign.correlation) for sign in signs)
    return bool(excess > max(2 * SIGN_CORRELATION, 2.5 * (2 / signs[0].count) ** 0.5))


def _label_faults(facts: DatasetFacts) -> Iterator[Finding]:
    # Labels that only some images have.
    for name, missing in facts.unlabelled.items():
        yield Finding(
            "labels missing",
            f"{name} is missing in {missing.count:,} of {facts.readable:,} images",
            f"add the labels, or remove these images; {_look_at(missing.examples)}",
        )
    # Rows of the table that fit no image, or cannot be used.
    if facts.orphans.count:
        yield Finding(
            "orphan rows",
            f"{facts.orphans.count:,} rows of labels.csv or annotations name images that do not exist",
            f"they must hold paths of images in the folder, with suffix; {_look_at(facts.orphans.examples)}",
        )
    if "gaze" not in facts.labels and (why := explain_angles(facts.labels)):
        yield Finding("gaze columns", why, "rename the columns, and convert them if they are in another unit")
    for report in facts.left_out:
        yield Finding(report.key, report.text, REMEDIES.get(report.key, "remove them, or leave them out by --exclude"))
    if facts.table_problems:
        number, first = len(facts.table_problems), facts.table_problems[0]
        yield Finding(
            "table rows",
            f"{number:,} rows of the label table cannot be used; the first is: {first}",
            "fix these rows; until then, their images are rejected",
        )
    # Points outside their image.
    for label in facts.labels.values():
        if label.outside:
            what = "is" if label.name == "pupil" else "is for the most part"
            yield Finding(
                "outside",
                f"{label.name} {what} outside the image in {label.outside:,} of {label.count:,} images",
                "check that points are (x, y) in pixels of the stored image, with y down; --sheet FILE draws them",
            )


def _object_faults(facts: DatasetFacts) -> Iterator[Finding]:
    if facts.objects is None:
        return
    objects, look = facts.objects, "--sheet FILE draws them"
    for images, key, message, remedy in (
        (objects.sizes, "annotated sizes", "have another size than their annotations state", "scale both together"),
        (objects.beyond, "boxes outside", "have a box that reaches beyond them", f"check the units of boxes; {look}"),
        (objects.flat, "empty boxes", "have a box without area", "remove these objects"),
        (objects.points_outside, "keypoints outside", "have a keypoint outside", f"check their units; {look}"),
    ):
        if images.count:
            text = f"{images.count:,} of {facts.readable:,} images {message}"
            yield Finding(key, text, f"{remedy}; {_look_at(images.examples)}")


def _image_faults(facts: DatasetFacts) -> Iterator[Finding]:
    # Images that show nothing, or show the same.
    for name, images in (("black", facts.black), ("flat", facts.flat)):
        if images.count:
            what = "black" if name == "black" else "of one flat colour"
            yield Finding(
                name, f"{images.count:,} of {facts.readable:,} images are {what}", f"{_look_at(images.examples)}"
            )
    if facts.duplicates.count:
        yield Finding(
            "duplicates",
            f"{facts.duplicates.count:,} of {facts.readable:,} images have the same pixels as another one",
            "keep one of each, or keep duplicates on the same side of a split; " + _look_at(facts.duplicates.examples),
        )
    path = shlex.quote(facts.path)
    # Images that differ in size or type.
    for name, counts, remedy in (
        ("sizes", facts.sizes, f"bring them to one size: refiner convert {path} OUT --size {next(iter(facts.sizes))}"),
        ("depths", facts.depths, "put images of different depths in different folders"),
        ("channels", facts.channels, f"convert them to grey: refiner convert {path} OUT --grey"),
    ):
        if len(counts) > 1:
            most = ", ".join(f"{count:,} of {value}" for value, count in list(counts.items())[:3])
            more = f" and {len(counts) - 3} more" if len(counts) > 3 else ""
            kinds = {"sizes": "sizes", "depths": "bit depths", "channels": "kinds of channels"}[name]
            yield Finding(name, f"the images have {len(counts)} different {kinds}: {most}{more}", remedy)
    # Levels that a refiner cannot use.
    if facts.highest < DIM:
        yield Finding(
            "dim",
            f"the images use only {facts.highest:.0%} of the range of their type, so a refiner sees them nearly black",
            "scale the levels of all images by the same factor, such as 65535 / the largest depth in mm",
        )
    share = facts.appearance.equalized_share
    if 0.1 <= share <= 0.9 and abs(facts.appearance.equalization - EQUALIZED_BELOW) > 0.01:
        yield Finding(
            "partly equalised",
            f"{share:.0%} of the images are histogram-equalised, and the others are not",
            f"equalise all of them: refiner convert {path} OUT --equalize",
        )


def _look_at(examples: Images | Sequence[str]) -> str:
    names = examples.examples if isinstance(examples, Images) else examples
    return f"look at {', '.join(names)}"
