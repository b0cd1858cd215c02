"""Numbers of labels that a crop and a resize lose: the same at once, after an interruption, and when asked again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools import mask as coco_mask

from refiner.commands import main
from refiner.data import conversion
from refiner.images.io import write_image

HEIGHT, WIDTH, COUNT = 24, 40, 40  # more images than the 32 of a chunk


def mask_of(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[y : y + height, x : x + width] = 1
    runs = coco_mask.encode(np.asfortranarray(pixels))
    return {"size": [HEIGHT, WIDTH], "counts": runs["counts"].decode()}


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    """Images with four objects each. A crop of 20x20 keeps rows 2 to 21 and columns 10 to 29."""
    root = tmp_path / "in"
    images, annotations = [], []
    for number in range(COUNT):
        write_image(root / f"{number:03d}.png", np.full((HEIGHT, WIDTH, 3), number, np.uint8))
        images.append({"id": number, "file_name": f"{number:03d}.png", "height": HEIGHT, "width": WIDTH})
        objects: list[dict[str, Any]] = [
            {"bbox": [0, 0, 8, 8]},  # outside
            {"bbox": [14, 8, 6, 6], "keypoints": [16, 9, 2, 2, 9, 2, 0, 0, 0], "num_keypoints": 2},  # one point outside
            {"bbox": [18, 10, 1, 1], "segmentation": mask_of(18, 10, 1, 1)},  # between the pixels that a resize keeps
        ]
        if number % 2:
            objects.append({"bbox": [31, 4, 5, 5], "keypoints": [33, 5, 2] * 3, "num_keypoints": 3})  # outside
        annotations += [{"image_id": number, "category_id": 1, "iscrowd": 0, **each} for each in objects]
    annotations = [{"id": number, **each} for number, each in enumerate(annotations)]
    categories = [{"id": 1, "name": "a", "keypoints": ["b", "c", "d"], "skeleton": []}]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    (root / "coco.json").write_text(json.dumps(whole))
    return root


def lost(*arguments: object) -> tuple[int, dict[str, int]]:
    """Return the exit status of a conversion and the numbers of its losses, by their kind."""
    result = CliRunner().invoke(main, ["convert", *map(str, arguments), "--json", "--workers", "1"])
    assert result.exit_code in (0, 4), result.output
    reports = json.loads(result.stdout)["splits"][""]["left_out"]
    return result.exit_code, {each["key"]: each["count"] for each in reports if each["key"].startswith("lost: ")}


EVERYTHING = {"lost: objects": COUNT + COUNT // 2, "lost: keypoints": COUNT, "lost: masks": COUNT}


@pytest.mark.parametrize("out", ["out", "out.h5"])
def test_losses_are_counted_once_whatever_was_interrupted(
    renders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    command = (renders, tmp_path / out, "--crop", "20x20", "--size", "4x4")
    # The resize keeps rows and columns 2, 7, 12 and 17 of the crop, and the mask is one pixel at 8, 8.
    write_chunk, calls = conversion.write_chunk, []

    def fail_at_the_second(*arguments: Any, **options: Any) -> Any:
        calls.append(0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write_chunk(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "write_chunk", fail_at_the_second)
        stopped = CliRunner().invoke(main, ["convert", *map(str, command), "--workers", "1"])
        assert stopped.exit_code not in (0, 4)
    resumed = lost(*command)
    assert resumed == (4, EVERYTHING)
    assert lost(*command) == resumed  # the job is finished


def test_objects_outside_of_a_crop_are_named_and_no_failure(renders: Path, tmp_path: Path) -> None:
    whole = json.loads((renders / "coco.json").read_text())
    whole["annotations"] = [each for each in whole["annotations"] if "segmentation" not in each]
    for each in whole["annotations"]:
        each.pop("keypoints", None)
    (renders / "coco.json").write_text(json.dumps(whole))
    result = CliRunner().invoke(main, ["convert", str(renders), str(tmp_path / "out"), "--crop", "20x20"])
    assert result.exit_code == 0, result.output
    said = "60 objects are outside of the crop, and are left out of 40 images: 000.png, 001.png, 002.png and 37 more"
    assert said in result.stderr


def test_nothing_is_lost_without_a_change(renders: Path, tmp_path: Path) -> None:
    assert lost(renders, tmp_path / "out") == (0, {})
