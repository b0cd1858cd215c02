"""Facts about annotated objects: numbers by class and shape, and what does not fit the images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refiner.data.formats.registry import open_dataset
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.tables import write_labels
from refiner.images.io import write_image
from refiner.inspection.datasets import inspect_dataset
from refiner.inspection.faults import find_faults
from refiner.inspection.objects import ObjectFacts, ObjectMeter
from refiner.inspection.text import dataset_lines

SIZE = (24, 36)


def facts(*images: ImageAnnotations | None) -> ObjectFacts:
    meter = ObjectMeter()
    for number, annotations in enumerate(images):
        meter.add(annotations, SIZE, f"{number}.png")
    found = meter.result(AnnotationInfo("coco", (Category(1, "cup"), Category(2, "fork"))))
    assert found is not None
    return found


def one(**values: Any) -> ImageAnnotations:
    return ImageAnnotations((ObjectLabel("1", "cup", **values),))


def test_objects_are_counted_by_class_and_shape() -> None:
    both = ImageAnnotations(
        (
            ObjectLabel("1", "cup", box=(1, 2, 3, 4), polygons=((1, 2, 4, 2, 4, 6),)),
            ObjectLabel("2", "", box=(0, 0, 36, 24), mask={"size": [24, 36], "counts": [864]}),
            ObjectLabel("3", "cup", keypoints=(3, 4, 2)),
        )
    )
    found = facts(both, None, ImageAnnotations(), one(box=(0, 0, 1, 1)))
    assert (found.images, found.empty, found.missing.examples, found.count) == (2, 1, ["1.png"], 4)
    assert found.classes == {"cup": 3, "(no class)": 1, "fork": 0}
    assert (found.boxes, found.outlines, found.masks, found.keypoints) == (3, 1, 1, 1)
    for images in (found.beyond, found.points_outside, found.sizes, found.flat):
        assert images.count == 0


@pytest.mark.parametrize(
    ("annotations", "kind"),
    [
        (one(box=(30, 2, 7.5, 4)), "beyond"),
        (one(box=(30, 2, 6.5, 4)), ""),
        (one(box=(-1.5, 2, 4, 4)), "beyond"),
        (one(box=(3, 20, 4, 5.5)), "beyond"),
        (one(box=(3, 20, 0, 2)), "flat"),
        (one(keypoints=(35.5, 23.5, 1)), ""),
        (one(keypoints=(35.6, 3, 1)), "points_outside"),
        (one(keypoints=(0, -0.6, 2)), "points_outside"),
        (one(keypoints=(99, 99, 0)), ""),  # not labelled
        (ImageAnnotations((), {"a.json": {"width": 36, "height": 24}}), ""),
        (ImageAnnotations((), {"a.json": {"width": 24, "height": 36}}), "sizes"),
        (one(mask={"size": [36, 24], "counts": [864]}), "sizes"),
    ],
)
def test_what_does_not_fit_its_image_is_found(annotations: ImageAnnotations, kind: str) -> None:
    found = facts(annotations)
    counts = {name: getattr(found, name).count for name in ("beyond", "flat", "points_outside", "sizes")}
    assert counts == {name: int(name == kind) for name in counts}


def test_inspect_tells_formats_objects_and_faults(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for number in range(4):
        write_image(tmp_path / f"{number}.png", noise.integers(0, 256, SIZE, dtype=np.uint8))
    rows: dict[str, dict[str, Any]] = {f"{n}.png": {"objects": one(box=(3 * n, 3 * n, 20, 20))} for n in range(3)}
    write_labels(tmp_path / "labels.csv", {**rows, "3.png": {"day": "2"}})
    data = inspect_dataset(open_dataset(tmp_path))
    findings = {finding.key: finding.message for finding in find_faults(data)}
    assert findings == {"boxes outside": "1 of 4 images have a box that reaches beyond them"}
    lines = list(dataset_lines(data, []))
    start = lines.index("labels")
    assert [line.split(maxsplit=1) for line in lines[start + 1 : start + 6]] == [
        ["formats", "folder (labels.csv)"],
        ["objects", "3 in 3 of 4 images, 1 not annotated"],
        ["shapes", "3 boxes"],
        ["classes", "1: cup 3"],
        ["day", "1 of 4: 2 to 2, mean 2, sd 0"],
    ]
