"""What looks wrong in one data set, each with its figures, the images to look at, and the remedy."""

import shlex
from collections.abc import Iterator, Sequence

import numpy as np

from refiner.images.arrays import EQUALIZED_BELOW
from refiner.inspection.facts import DatasetFacts, Finding, Images, Sign

SIGN_CORRELATION = 0.2
"""Correlation of gaze and place from which on the sign is called wrong; it must stand out of chance as well."""

DIM = 0.25
"""Highest level of all images, of 1, below which they waste the range of their type."""

DEGREES = "angles are in radians: multiply the columns by pi / 180 (0.0174533)"


def find_faults(facts: DatasetFacts) -> list[Finding]:
    """What looks wrong, the most harmful first; empty when nothing does."""
    return [
        *_reading_faults(facts),
        *_angle_faults(facts),
        *_sign_faults(facts),
        *_label_faults(facts),
        *_image_faults(facts),
    ]


def _reading_faults(facts: DatasetFacts) -> Iterator[Finding]:
    if facts.label_error:
        yield Finding("labels unreadable", f"no labels can be read: {facts.label_error}", "mend the label table")
    if rejects := sum(reject.count for reject in facts.rejected):
        worst = facts.rejected[0]
        yield Finding(
            "rejected",
            f"{rejects:,} of {facts.sampled:,} images cannot be used; most often: {worst.reason} ({worst.count:,})",
            f"{_look_at(worst.examples)}; refine and convert leave them out and list them in rejected.csv",
        )


def _angle_faults(facts: DatasetFacts) -> Iterator[Finding]:
    for name, angles in facts.angles.items():
        if not len(angles):
            continue
        largest = np.abs(angles).max(axis=1)
        if beyond := int((largest > np.pi).sum()):
            yield Finding(
                "degrees",
                f"{name} seems to be in degrees: {beyond:,} of {len(angles):,} values lie beyond pi, up to "
                f"{largest.max():.1f}",
                DEGREES,
            )
        elif name == "gaze" and (behind := int((largest > np.pi / 2).sum())):
            yield Finding(
                "range",
                f"{name} is implausible: {behind:,} of {len(angles):,} look away from the camera, beyond 90 degrees",
                "check the convention: (pitch, yaw) of a vector with z away from the camera; (0, 0) looks into it",
            )
        if name == "gaze" and len(angles) > 1 and not angles.std(axis=0).any():
            pitch, yaw = np.degrees(angles[0])
            yield Finding(
                "constant",
                f"{name} is the same in all images: pitch {pitch:.1f}, yaw {yaw:.1f} degrees",
                "check how the labels were written",
            )


def _sign_faults(facts: DatasetFacts) -> Iterator[Finding]:
    wrong = [sign for sign in facts.signs if _is_wrong(sign)]
    for sign in wrong:
        if sign.images != "all" and any((other.angle, other.images) == (sign.angle, "all") for other in wrong):
            continue  # said of all images already
        whose = "" if sign.images == "all" else f" of the images that are {sign.images}"
        place = "the pupil's label" if sign.source == "pupil" else "the iris found in the image"
        towards = "the image's left, smaller x" if sign.angle == "yaw" else "up, smaller y"
        yield Finding(
            f"sign of {sign.angle}",
            f"the sign of {sign.angle}{whose} looks wrong: it grows with {sign.axis} of {place} (correlation "
            f"{sign.correlation:+.2f} in {sign.count:,} images), but a positive {sign.angle} looks {towards}",
            f"negate gaze_{sign.angle}_rad"
            + (", or mirror the image together with its labels" if sign.angle == "yaw" else ""),
        )


def _is_wrong(sign: Sign) -> bool:
    return sign.count >= 20 and sign.correlation > max(SIGN_CORRELATION, 3 / sign.count**0.5)


def _label_faults(facts: DatasetFacts) -> Iterator[Finding]:
    for name, missing in facts.unlabelled.items():
        yield Finding(
            "labels missing",
            f"{name} is missing in {missing.count:,} of {facts.readable:,} images",
            f"complete the labels, or leave those images out; {_look_at(missing.examples)}",
        )
    if facts.orphans.count:
        yield Finding(
            "orphan rows",
            f"{facts.orphans.count:,} rows of labels.csv name no image",
            f"names in the column file are paths below the folder, with suffix; {_look_at(facts.orphans.examples)}",
        )
    if facts.table_problems:
        number, first = len(facts.table_problems), facts.table_problems[0]
        yield Finding(
            "table rows",
            f"{number:,} rows of the label table cannot be used; the first: {first}",
            "mend the table; its images are rejected until then",
        )
    for label in facts.labels.values():
        if label.outside:
            what = "lies" if label.name == "pupil" else "lies for the most part"
            yield Finding(
                "outside",
                f"{label.name} {what} outside the image in {label.outside:,} of {label.count:,} images",
                "check that points are (x, y) in pixels of this image, y down; --sheet shows them",
            )


def _image_faults(facts: DatasetFacts) -> Iterator[Finding]:
    for name, images in (("black", facts.black), ("flat", facts.flat)):
        if images.count:
            what = "black" if name == "black" else "of one flat colour"
            yield Finding(
                name, f"{images.count:,} of {facts.readable:,} images are {what}", f"{_look_at(images.examples)}"
            )
    if facts.duplicates.count:
        yield Finding(
            "duplicates",
            f"{facts.duplicates.count:,} of {facts.readable:,} images have the pixels of another one",
            "keep one of each, or split so that twins stay together; " + _look_at(facts.duplicates.examples),
        )
    place = shlex.quote(facts.path)
    for name, counts, remedy in (
        ("sizes", facts.sizes, f"refiner convert {place} OUT --size {next(iter(facts.sizes))}"),
        ("depths", facts.depths, "keep images of one depth in one folder"),
        ("channels", facts.channels, f"refiner convert {place} OUT --grey"),
    ):
        if len(counts) > 1:
            most = ", ".join(f"{count:,} of {value}" for value, count in list(counts.items())[:3])
            more = f" and {len(counts) - 3} more" if len(counts) > 3 else ""
            yield Finding(name, f"images have {len(counts)} {name}: {most}{more}", remedy)
    if facts.highest < DIM:
        yield Finding(
            "dim",
            f"the images use only {facts.highest:.0%} of the range of their type, so a refiner sees them nearly black",
            "scale the levels by one factor for all images (a depth in mm, say, by 65535 / its largest value)",
        )
    share = facts.appearance.equalized_share
    if 0.1 <= share <= 0.9 and abs(facts.appearance.equalization - EQUALIZED_BELOW) > 0.01:
        yield Finding(
            "partly equalised",
            f"{share:.0%} of the images are histogram-equalised, the others are not",
            f"equalise all of them: refiner convert {place} OUT --equalize",
        )


def _look_at(examples: Images | Sequence[str]) -> str:
    names = examples.examples if isinstance(examples, Images) else examples
    return f"look at {', '.join(names)}"
