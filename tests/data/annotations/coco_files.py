"""COCO files as several programs lay them out, for tests."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refiner.data.annotations.coco import reader as coco
from refiner.data.annotations.coco.reader import CocoSource
from refiner.data.annotations.source import LabelledImage
from refiner.images.io import is_image_file

SIZE = (48, 64)
"""(height, width) of the images."""


def save_image(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(len(path.name)).integers(0, 255, (*size, 3), np.uint8)
    assert cv2.imwrite(str(path), image)


def save_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def listing(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def find(root: Path) -> Sequence[CocoSource]:
    files = listing(root)
    return coco.find(root, files, [name for name in files if is_image_file(Path(name))])


def open_only(root: Path) -> CocoSource:
    (source,) = find(root)
    return source


def labelled(source: CocoSource, size: tuple[int, int] = SIZE) -> list[LabelledImage]:
    return [LabelledImage(name, size, source[name]) for name in source]


def by_id(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a COCO file, with annotations and images by their id, for comparison."""
    lists = {key: {json.dumps(each["id"]): each for each in content[key]} for key in ("images", "annotations")}
    assert all(len(lists[key]) == len(content[key]) for key in lists)
    return {**content, **lists}


def image(number: Any, name: str, size: tuple[int, int] = SIZE, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "height": size[0], "width": size[1], **more}


def box(number: Any, image_id: Any, category: Any = 1, **more: Any) -> dict[str, Any]:
    """An annotation with a box; its numbers differ from one to the next."""
    n = number if isinstance(number, int) else 5
    bounds = [1 + n % 20, 2 + n % 10, 3.5 + n % 7, 4]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "bbox": bounds,
        "area": bounds[2] * bounds[3],
        "iscrowd": 0,
        **more,
    }


CATEGORIES = [
    {"id": 1, "name": "cup", "supercategory": "kitchen"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
]


def dataset(images: list[Any], annotations: list[Any], **more: Any) -> dict[str, Any]:
    return {"images": images, "annotations": annotations, "categories": CATEGORIES, **more}


def mask_of(size: tuple[int, int] = SIZE, *, seed: int = 0) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, (int(rng.integers(20, 40)), int(rng.integers(15, 30))), (12, 7), 30, 0, 360, 1, -1)
    return mask


def blenderproc(root: Path) -> dict[str, Any]:
    """Write a folder as ``bproc.writer.write_coco_annotations`` does, with masks as runs of pixels."""
    images, annotations = [], []
    for number in range(3):
        name = f"images/{number:06d}.png"
        save_image(root / name)
        more = {"date_captured": "2026-01-02 03:04:05.678", "license": 1, "coco_url": "", "flickr_url": ""}
        images.append(image(number, name, **more))
        for seed in range(number):  # the first image has no objects
            mask = mask_of(seed=seed)
            rows, columns = np.nonzero(mask)
            counts, value = [0], 0
            for pixel in mask.T.ravel().tolist():
                if pixel != value:
                    counts, value = [*counts, 0], pixel
                counts[-1] += 1
            low, high = (int(columns.min()), int(rows.min())), (int(columns.max()), int(rows.max()))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1 + 17 * seed,
                    "iscrowd": 0,
                    "area": int(mask.sum()),
                    "bbox": [*low, high[0] - low[0] + 1, high[1] - low[1] + 1],
                    "segmentation": {"counts": counts, "size": list(SIZE)},
                    "width": SIZE[1],
                    "height": SIZE[0],
                    "idx": seed + 1,
                    "custom": {"pose": [1.5, None]},
                }
            )
    info = {"description": "coco_annotations", "version": "0.1.0", "year": 2020}
    licences = [{"id": 1, "name": "Attribution-NonCommercial-ShareAlike License", "url": "http://example.org"}]
    content = {"info": info, "licenses": licences, "categories": CATEGORIES, "images": images}
    content["annotations"] = annotations
    save_json(root / "coco_annotations.json", content)
    return content
