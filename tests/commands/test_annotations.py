"""A folder of renders with COCO annotations, written by hand here, through the commands.

Boxes, outlines, masks and keypoints are compared with arithmetic of this file.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from pycocotools import mask as coco_mask

from refiner.commands import main
from refiner.data.annotations.registry import WRITERS
from refiner.data.domains import load_domain
from refiner.data.output.label_files import FOLDER, LabelFiles
from refiner.images.io import read_image, write_image
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

HEIGHT, WIDTH = 48, 64

NAMES = [f"images/{number:06d}.jpg" for number in range(4)]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def rectangle(number: int) -> tuple[int, int, int, int]:
    """Return x, y, width and height of the bright object in an image: even numbers."""
    return 10 + 4 * number, 12 + 2 * number, 20, 16


def coco() -> dict[str, Any]:
    """Return annotations as BlenderProc lays them out: names relative to the file, and one mask as run lengths."""
    annotations = []
    for number in range(3):  # the last image shows nothing
        x, y, width, height = rectangle(number)
        shape: dict[str, Any] = {"segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]]}
        if number == 1:
            pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
            pixels[y : y + height, x : x + width] = 1
            mask = coco_mask.encode(np.asfortranarray(pixels))
            shape = {"segmentation": {"size": [HEIGHT, WIDTH], "counts": mask["counts"].decode()}}
        annotations.append(
            {
                "id": 70 + number, "image_id": number, "category_id": 5, "iscrowd": 0, "area": width * height,
                "bbox": [x, y, width, height], **shape, "keypoints": [x + 3, y + 4, 2, 0, 0, 0], "num_keypoints": 1,
                "depth_m": 1.25,
            }
        )  # fmt: skip
    return {
        "info": {"description": "bl\u00f6cke", "contributor": "test"},
        "licenses": [{"id": 1, "name": "mine"}],
        "categories": [
            {"id": 5, "name": "block", "supercategory": "thing", "keypoints": ["tip", "end"], "skeleton": [[1, 2]]},
            {"id": 9, "name": "never", "supercategory": "thing"},
        ],
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 1}
            for number, name in enumerate(NAMES)
        ],
        "annotations": annotations,
    }


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    """Four renders with annotations, a mask and a depth map each, and notes."""
    root = tmp_path / "coco_data"
    noise = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        image = noise.integers(20, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        x, y, width, height = rectangle(number)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if number < 3:
            image[y : y + height, x : x + width] = 230
            mask[y : y + height, x : x + width] = 3
        write_image(root / name, image, quality=100)
        (root / "masks").mkdir(exist_ok=True)
        (root / name.replace("images", "masks").replace("jpg", "png")).write_bytes(
            cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()  # other bytes than ours
        )
        (root / name.replace("jpg", "exr")).write_bytes(b"depth %d" % number)
    (root / "coco_annotations.json").write_text(json.dumps(coco(), indent=3))
    (root / "scene.blend").write_bytes(b"BLENDER\0")
    return root


@pytest.fixture
def refiner(tmp_path: Path) -> Path:
    network = RefinerNetwork(RefinerArchitecture(channels=3, features=2, blocks=1, output="residual"))
    network.head.bias.data.fill_(0.05)
    save_refiner(tmp_path / "r.safetensors", network, training={})
    return tmp_path / "r.safetensors"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".refiner" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def as_png(annotations: dict[str, Any]) -> dict[str, Any]:
    """Return the annotations with the names of the converted images."""
    images = [{**image, "file_name": image["file_name"].replace(".jpg", ".png")} for image in annotations["images"]]
    return {**annotations, "images": images}


def written(folder: Path, name: str = "coco_annotations.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def test_refine_changes_the_images_only(renders: Path, refiner: Path, tmp_path: Path) -> None:
    before = contents(renders)
    result = run("refine", renders, tmp_path / "out", "--refiner", refiner, "--backend", "torch", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout == "4 refined, 0 skipped, 0 rejected, 10 other files copied\n"
    after = contents(tmp_path / "out")
    assert after.keys() - {"drift.csv"} == before.keys()
    for name, data in before.items():
        assert (after[name] == data) == (name not in NAMES), name
    assert "masks/000000.png" in result.stderr
    assert "images/000000.exr" in result.stderr
    assert "coco_annotations.json" not in result.stderr  # it is read


@pytest.mark.parametrize("via", ["", "store", "table"])
def test_convert_keeps_every_annotation(renders: Path, tmp_path: Path, via: str) -> None:
    source = renders
    if via:
        source = tmp_path / ("a.h5" if via == "store" else "table")
        result = run("convert", renders, source, "--workers", 1, *(["--to", "folder"] if via == "table" else []))
        assert result.exit_code == (4 if via == "store" else 0), result.output  # a store has no place for masks
    result = run("convert", source, tmp_path / "out", "--workers", 1, *(["--to", "coco"] if via == "table" else []))
    assert result.exit_code == 0, result.output
    assert "  labels: coco (coco_annotations.json)\n" in result.stdout
    assert written(tmp_path / "out") == as_png(coco())
    for name in NAMES:
        converted = read_image(tmp_path / "out" / name.replace("jpg", "png"))
        assert np.array_equal(converted, read_image(renders / name))
    names = contents(tmp_path / "out").keys()
    assert not any(name.startswith("labels") for name in names)
    assert ("masks/000001.png" in names) == ("scene.blend" in names) == (via != "store")


@pytest.mark.parametrize("through_store", [False, True])
def test_annotations_follow_a_crop_and_a_resize(renders: Path, tmp_path: Path, through_store: bool) -> None:
    """A crop to 40x48 begins 4 below and 8 right; the resize makes it twice as high and half as wide."""
    source = renders
    if through_store:
        run("convert", renders, tmp_path / "a.h5", "--workers", 1)
        source = tmp_path / "a.h5"
    result = run("convert", source, tmp_path / "out", "--crop", "40x48", "--size", "80x24", "--workers", 1)
    assert result.exit_code == (0 if through_store else 4)  # files without pixels are left out
    if not through_store:
        assert "5 files are left out, as they may hold positions in pixels" in result.stderr
    found = written(tmp_path / "out")
    assert [(image["height"], image["width"]) for image in found["images"]] == [(80, 24)] * 4
    for number, annotation in enumerate(found["annotations"]):
        x, y, width, height = rectangle(number)
        left, top = (x - 8) / 2, (y - 4) * 2
        assert annotation["bbox"] == pytest.approx([left, top, width / 2, height * 2])
        assert annotation["area"] == pytest.approx(width * height)
        # The centre of a pixel is half a pixel from its edge, before and after.
        assert annotation["keypoints"] == pytest.approx([(x + 3.5 - 8) / 2 - 0.5, (y + 4.5 - 4) * 2 - 0.5, 2, 0, 0, 0])
        assert (annotation["id"], annotation["category_id"], annotation["depth_m"]) == (70 + number, 5, 1.25)
        image = read_image(tmp_path / "out" / found["images"][number]["file_name"])
        bright = image.min(axis=2) > 150
        expected = np.zeros((80, 24), bool)
        expected[top : top + 2 * height, round(left) : round(left + width / 2)] = True
        assert np.array_equal(bright, expected)  # the picture itself moved there
        shape = annotation["segmentation"]
        if number == 1:
            shape["counts"] = shape["counts"].encode()
            assert np.array_equal(coco_mask.decode(shape), expected)
        else:
            assert shape[0] == pytest.approx(
                [left, top, left + width / 2, top, left + width / 2, top + 2 * height, left, top + 2 * height]
            )
        if not through_store:
            mask = read_image(tmp_path / "out" / "masks" / f"{number:06d}.png")
            assert np.array_equal(mask, 3 * expected)


def test_splits_and_limits_have_the_annotations_of_their_images(renders: Path, tmp_path: Path) -> None:
    result = run("convert", renders, tmp_path / "out", "--split", "a=0.5,b=0.5", "--by", "id", "--workers", 1)
    assert result.exit_code == 0, result.output
    parts = [written(tmp_path / "out" / part) for part in "ab"]
    for part, found in zip("ab", parts, strict=True):
        files = {f"images/{path.name}" for path in (tmp_path / "out" / part / "images").glob("*.png")}
        assert {image["file_name"] for image in found["images"]} == files
        assert {each["image_id"] for each in found["annotations"]} <= {image["id"] for image in found["images"]}
    assert sorted(each["id"] for found in parts for each in found["annotations"]) == [70, 71, 72]
    assert sorted(each["id"] for found in parts for each in found["images"]) == [0, 1, 2, 3]
    run("convert", renders, tmp_path / "few", "--limit", 2, "--workers", 1)
    assert [image["id"] for image in written(tmp_path / "few")["images"]] == [0, 2]


def test_a_killed_conversion_resumes_with_the_same_bytes(
    renders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for to in WRITERS:
        arguments = ["convert", renders, tmp_path / f"out-{to}", "--to", to, "--size", "24x32", "--workers", 1]
        with monkeypatch.context() as patch:
            patch.setattr(LabelFiles, "write", _killed)
            assert run(*arguments).exit_code != 0
        assert run(*arguments).exit_code == 4
        other = [str(argument).replace("out-", "whole-") for argument in arguments]
        assert run(*other).exit_code == 4
        assert contents(tmp_path / f"out-{to}") == contents(tmp_path / f"whole-{to}")


def _killed(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_one_format_becomes_each_other_and_comes_back(renders: Path, tmp_path: Path) -> None:
    for to in (*WRITERS, FOLDER):
        result = run("convert", renders, tmp_path / to, "--to", to, "--workers", 1)
        assert result.exit_code in (0, 4), result.output
        back = run("convert", tmp_path / to, tmp_path / f"{to}-back", "--to", "coco", "--workers", 1)
        assert back.exit_code in (0, 4), back.output
        (file,) = (tmp_path / f"{to}-back").glob("*.json")
        found = json.loads(file.read_text())
        names = {each["id"]: each["name"] for each in found["categories"]}
        images = {image["id"]: image for image in found["images"]}
        assert {Path(image["file_name"]).stem for image in images.values()} == {Path(name).stem for name in NAMES}
        assert all((image["height"], image["width"]) == (HEIGHT, WIDTH) for image in images.values())
        boxes = {Path(images[each["image_id"]]["file_name"]).stem: each["bbox"] for each in found["annotations"]}
        assert boxes.keys() == {"000000", "000001", "000002"}
        for number in range(3):
            assert boxes[f"{number:06d}"] == pytest.approx(rectangle(number), abs=1e-3), to
        assert {names[each["category_id"]] for each in found["annotations"]} == {"block"}


@pytest.mark.parametrize("to", ["yolo", "imagefolder"])
def test_facts_that_only_coco_holds_are_named(renders: Path, tmp_path: Path, to: str) -> None:
    words = "facts about the data set or its classes are not part of"
    facts = ["licenses", "supercategory", "skeleton"]
    for source in (renders, tmp_path / "store.h5"):  # the store keeps them, and says nothing
        result = run("convert", source, tmp_path / f"{source.stem}-{to}", "--to", to, "--workers", 1)
        (line,) = [line for line in result.stderr.splitlines() if words in line]
        assert line.startswith("5 facts")
        assert f"of {to} files: info, " in line
        assert any(fact in line for fact in facts)
        assert words not in run("convert", renders, tmp_path / "store.h5", "--workers", 1).stderr


def test_inspect_describes_the_objects(renders: Path) -> None:
    text = run("inspect", renders).stdout
    for line in (
        "formats       coco (coco_annotations.json)",
        "objects       3 in 3 of 4 images, 1 annotated without any",
        "shapes        3 boxes, 2 outlines, 1 masks, 3 sets of keypoints",
        "classes       2: block 3, never 0",
    ):
        assert line in text
    changed = coco()
    changed["annotations"][1]["bbox"] = [60, 2, 9, 4]
    (renders / "coco_annotations.json").write_text(json.dumps(changed))
    findings = {
        each["key"]: each["message"] for each in json.loads(run("inspect", renders, "--json").stdout)["findings"]
    }
    assert findings["boxes outside"] == "1 of 4 images have a box that reaches beyond them"


def test_training_uses_the_renders_and_never_the_masks(renders: Path) -> None:
    domain = load_domain(renders, key="data.synthetic", size=(24, 32), channels=3)
    assert len(domain) == 4
    assert not domain.rejected


def test_annotations_can_be_left_out(renders: Path, tmp_path: Path) -> None:
    result = run("convert", renders, tmp_path / "out", "--exclude", "*.json", "--include", "*1.jpg", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert sorted(contents(tmp_path / "out")) == ["images/000001.exr", "images/000001.png", "scene.blend"]


def test_a_damaged_file_is_named_by_every_command(renders: Path, refiner: Path, tmp_path: Path) -> None:
    text = (renders / "coco_annotations.json").read_text()
    (renders / "coco_annotations.json").write_text(text[: len(text) // 2])
    for command in (["convert", renders, tmp_path / "a"], ["refine", renders, tmp_path / "b", "--refiner", refiner]):
        result = run(*command)
        assert result.exit_code == 1
        assert "coco_annotations.json" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    shutil.copytree(renders, tmp_path / "again")
    assert run("convert", tmp_path / "again", tmp_path / "c", "--exclude", "*.json").exit_code == 0


def test_the_formats_of_the_option_are_those_of_the_registry() -> None:
    from refiner.commands.convert import command

    option = next(option for option in command.params if option.name == "to")
    assert set(option.type.choices) == {FOLDER, "yolo", *WRITERS}  # type: ignore[attr-defined]
