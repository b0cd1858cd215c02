"""refine with annotated objects: rows of drift.csv, rejection by the worst object, and annotations without it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.data.labels.objects import OBJECTS, ImageAnnotations, ObjectLabel
from refiner.data.labels.tables import write_labels
from refiner.images.io import write_image
from refiner.inference.refiner import Refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

SIZE = (96, 160)
BOXES = ((10, 10, 30, 24), (60, 20, 26, 30), (110, 12, 36, 28), (20, 60, 24, 26), (150, 90, 2, 2))
"""Left, top, width and height of the objects; the last one is too small to be followed."""

NAMES = ("a.png", "sub/b.png", "c.png")
MOVED = {("a.png", 1), ("c.png", 0), ("c.png", 2)}
"""The objects that the refiner moves by three pixels."""


def picture(number: int) -> Any:
    rng = np.random.default_rng(number)
    image = np.full((*SIZE, 3), 90, np.uint8)
    for left, top, width, height in BOXES:
        cells = rng.integers(0, 255, (height // 6 + 1, width // 6 + 1, 3)).astype(np.uint8)
        image[top : top + height, left : left + width] = np.kron(cells, np.ones((6, 6, 1), np.uint8))[:height, :width]
    return image


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        write_image(tmp_path / "in" / name, picture(number))
    return tmp_path / "in"


@pytest.fixture
def moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A refiner that moves :data:`MOVED` to the right, and adds noise everywhere."""
    architecture: dict[str, Any] = {"features": 4, "blocks": 1, "output": "residual", "channels": 3}
    save_refiner(tmp_path / "r", RefinerNetwork(RefinerArchitecture(**architecture)), training={})
    known = {picture(number).tobytes(): name for number, name in enumerate(NAMES)}

    def refine(plane: Any) -> Any:
        levels = np.rint((plane + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
        name = known[np.ascontiguousarray(levels).tobytes()]
        result = plane + np.random.default_rng(7).normal(0, 0.02, plane.shape).astype(np.float32)
        for number, (left, top, width, height) in enumerate(BOXES):
            if (name, number) in MOVED:
                part = plane[:, top : top + height, left : left + width]
                result[:, top : top + height, left : left + 3] = plane[:, :1, :1]
                result[:, top : top + height, left + 3 : left + width + 3] = part
        return result

    monkeypatch.setattr(Refiner, "refine_batch", lambda _, planes, **__: np.stack([refine(each) for each in planes]))
    return tmp_path / "r"


def refine(source: Path, out: Path, refiner: Path, *options: object) -> Result:
    arguments = [str(source), str(out), "--refiner", str(refiner), "--device", "cpu", "--workers", "1"]
    return CliRunner().invoke(main, ["refine", *arguments, *map(str, options)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


# --- Formats: each writes the same objects, and reads those that are left -------------------------------------------


def coco_text(dropped: set[tuple[str, int]] = frozenset()) -> str:  # type: ignore[assignment]
    """A COCO file with blanks, digits and fields as no program of ours would write them."""
    images = [
        f'{{"file_name": "{name}", "id": {7 * at}, "height": {SIZE[0]}, "width":{SIZE[1]} , "flickr": "é"}}'
        for at, name in enumerate(NAMES)
    ]
    annotations = [
        f'{{"id": {100 * at + number}, "image_id": {7 * at}, "category_id": 3, "bbox": [{left}.00, {top}, {width}, '
        f'{height}.0], "area": {width * height}, "iscrowd": 0, "mine": {{"é": [1e1]}}}}'
        for at, name in enumerate(NAMES)
        for number, (left, top, width, height) in enumerate(BOXES)
        if (name, number) not in dropped
    ]
    return (
        f'{{"info": {{"year": 2026.0}},\n"images": [{", ".join(images)}],\n "annotations": [\n  '
        + ",\n  ".join(annotations)
        + '\n ],\n"categories": [{"id": 3, "name": "cup", "supercategory": ""}]}\n'
    )


def write_coco(folder: Path) -> None:
    (folder / "instances.json").write_text(coco_text(), encoding="utf-8")


def write_cells(folder: Path) -> None:
    labels = {
        name: {
            OBJECTS: ImageAnnotations(
                tuple(ObjectLabel(str(at), "cup", box=box, extra={"a": 'b "c"'}) for at, box in enumerate(BOXES)),
                {"": {"x": 1}},
            ),
            "note": f'says "{name}", é',
        }
        for name in NAMES
    }
    write_labels(folder / "labels.csv", labels)


def write_image_folder(folder: Path) -> None:
    lines = [
        {"file_name": name, "caption": "é", "exact": 1.50, "objects": {"bbox": [*map(list, BOXES)], "area": [1.0] * 5}}
        for name in NAMES
    ]
    (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def yolo_line(box: tuple[float, ...]) -> str:
    left, top, width, height = box
    centre = (left + width / 2) / SIZE[1], (top + height / 2) / SIZE[0]
    return " ".join(["0", *(f"{value:.9f}" for value in (*centre, width / SIZE[1], height / SIZE[0]))])


def write_yolo(folder: Path) -> None:
    (folder / "classes.txt").write_text("cup\n")
    for name in NAMES:
        lines = [yolo_line(box) for box in BOXES]
        # A blank line, other ends of lines, and none at the end.
        text = f"\ufeff{lines[0]}  \n\n{lines[1]}\r\n{lines[2]}\n{lines[3]}\n{lines[4]}"
        (folder / name).with_suffix(".txt").write_bytes(text.encode())


FORMATS: dict[str, Callable[[Path], None]] = {
    "coco": write_coco,
    "labels.csv": write_cells,
    "imagefolder": write_image_folder,
    "yolo": write_yolo,
}


def boxes_left(folder: Path, format: str) -> dict[str, list[tuple[float, ...]]]:
    """Read the boxes of each image with nothing of this package."""
    if format == "coco":
        data = json.loads((folder / "instances.json").read_text(encoding="utf-8"))
        names = {image["id"]: image["file_name"] for image in data["images"]}
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in NAMES}
        for each in data["annotations"]:
            found[names[each["image_id"]]].append(tuple(each["bbox"]))
        return found
    if format == "yolo":
        known = {yolo_line(box): box for box in BOXES}
        texts = {name: (folder / name).with_suffix(".txt").read_text(encoding="utf-8-sig") for name in NAMES}
        return {
            name: [known[line.strip()] for line in text.splitlines() if line.strip()] for name, text in texts.items()
        }
    if format == "labels.csv":
        return {
            row["file"]: [tuple(each["box"]) for each in json.loads(row["objects"])["objects"]]
            for row in rows(folder / "labels.csv")
        }
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(len(line["objects"]["bbox"]) == len(line["objects"]["area"]) for line in lines)
    return {line["file_name"]: [tuple(box) for box in line["objects"]["bbox"]] for line in lines}


# --- Tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_every_object_gets_a_row_after_that_of_its_image(
    tmp_path: Path, renders: Path, moving: Path, format: str
) -> None:
    FORMATS[format](renders)
    assert refine(renders, tmp_path / "out", moving).exit_code == 0
    found = rows(tmp_path / "out" / "drift.csv")
    assert list(found[0]) == [
        *("file", "drift_px", "drift_deg", "score", "known"),
        *("object", "class", "structure", "vanished", "background"),
    ]
    assert [row["file"] for row in found] == [name for name in sorted(NAMES) for _ in range(len(BOXES) + 1)]
    for start in range(0, len(found), len(BOXES) + 1):
        image, *objects = found[start : start + len(BOXES) + 1]
        assert (image["object"], image["class"], image["structure"], image["known"]) == ("", "", "", "1")
        for number, row in enumerate(objects[:-1]):
            is_moved = (row["file"], number) in MOVED
            assert float(row["drift_px"]) == pytest.approx(3 if is_moved else 0, abs=0.3)
            assert (float(row["score"]) > 1) == is_moved
            assert (row["vanished"], row["background"], row["known"]) == ("0", "", "1")
            assert row["class"] == ("" if format == "imagefolder" else "cup")
        assert (objects[-1]["known"], objects[-1]["score"]) == ("0", "")
        assert image["score"] == max([image["background"], *(row["score"] for row in objects)])
    # The same command again writes the same bytes, from the manifest.
    before = contents(tmp_path / "out")
    assert refine(renders, tmp_path / "out", moving).stdout.startswith("0 refined, 3 skipped")
    assert contents(tmp_path / "out") == before
    # Annotations are byte for byte copies.
    for path in renders.glob("*.*"):
        if path.suffix != ".png":
            assert before[path.name] == path.read_bytes()


def test_a_killed_run_ends_in_the_same_bytes(
    tmp_path: Path, renders: Path, moving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco(renders)
    options = ("--max-drift", 1, "--drop-objects")
    assert refine(renders, tmp_path / "whole", moving, *options).exit_code == 4
    calls, whole = [], Refiner.refine_batch

    def dies(self: Refiner, planes: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, planes, **more)

    monkeypatch.setattr(Refiner, "refine_batch", dies)
    monkeypatch.setattr("refiner.inference.jobs.folder_job.TASK_IMAGES", 1)
    monkeypatch.setattr(Refiner, "batch_size", lambda *_, **__: 1)
    assert refine(renders, tmp_path / "out", moving, *options).exit_code not in (0, 4)
    assert not (tmp_path / "out" / "instances.json").exists()  # it would hold objects that may have to go
    monkeypatch.setattr(Refiner, "refine_batch", whole)
    assert refine(renders, tmp_path / "out", moving, *options).stdout.startswith("2 refined, 1 skipped")
    assert contents(tmp_path / "out").keys() == contents(tmp_path / "whole").keys()
    for name, content in contents(tmp_path / "whole").items():
        if ".refiner" not in name:
            assert contents(tmp_path / "out")[name] == content


def test_a_changed_object_is_measured_again(tmp_path: Path, renders: Path, moving: Path) -> None:
    write_coco(renders)
    refine(renders, tmp_path / "out", moving)
    text = coco_text().replace("[10.00, 10, 30, 24.0]", "[12.00, 10, 28, 24.0]", 1)
    (renders / "instances.json").write_text(text, encoding="utf-8")
    assert refine(renders, tmp_path / "out", moving).stdout.startswith("1 refined, 2 skipped")
    # Without annotations, all images are measured as a whole, in the columns of old.
    (renders / "instances.json").unlink()
    assert refine(renders, tmp_path / "out", moving).stdout.startswith("3 refined, 0 skipped")
    found = rows(tmp_path / "out" / "drift.csv")
    assert list(found[0]) == ["file", "drift_px", "drift_deg", "score", "known"]
    assert len(found) == 3


def test_an_image_is_rejected_by_its_worst_object(tmp_path: Path, renders: Path, moving: Path) -> None:
    write_coco(renders)
    result = refine(renders, tmp_path / "out", moving, "--max-drift", 1)
    assert (result.exit_code, result.stdout.partition(",")[0]) == (4, "1 refined")
    rejected = {row["file"]: row["reason"] for row in rows(tmp_path / "out" / "rejected.csv")}
    assert list(rejected) == ["a.png", "c.png"]
    assert rejected["a.png"].startswith("object 1 (cup) moved by about 3.")
    assert {row["file"] for row in rows(tmp_path / "out" / "drift.csv")} == {"sub/b.png"}


@pytest.mark.parametrize("format", FORMATS)
def test_dropped_objects_alone_leave_the_annotations(tmp_path: Path, renders: Path, moving: Path, format: str) -> None:
    FORMATS[format](renders)
    options = ("--max-drift", 1, "--drop-objects")
    result = refine(renders, tmp_path / "out", moving, *options)
    assert (result.exit_code, result.stdout.partition(",")[0]) == (4, "3 refined")
    assert "3 objects lose their annotations" in result.stderr
    assert not (tmp_path / "out" / "rejected.csv").exists()
    expected = {name: [box for number, box in enumerate(BOXES) if (name, number) not in MOVED] for name in NAMES}
    assert boxes_left(tmp_path / "out", format) == expected
    dropped = rows(tmp_path / "out" / "dropped_objects.csv")
    assert [row["file"] for row in dropped] == ["a.png", "c.png", "c.png"]
    assert all(float(row["score"]) > 1 and "moved by about" in row["reason"] for row in dropped)
    # The drift of all objects stays in the table, and the command is repeatable.
    assert len(rows(tmp_path / "out" / "drift.csv")) == 18
    before = contents(tmp_path / "out")
    again = refine(renders, tmp_path / "out", moving, *options)
    assert (again.exit_code, again.stdout.partition(",")[0]) == (4, "0 refined")
    assert contents(tmp_path / "out") == before
    # Another limit drops nothing, and the annotations are copies again.
    assert refine(renders, tmp_path / "out", moving, "--max-drift", 50, "--drop-objects").exit_code == 0
    assert not (tmp_path / "out" / "dropped_objects.csv").exists()
    for path in renders.glob("*.*"):
        assert path.suffix == ".png" or (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_coco_file_keeps_every_other_byte(tmp_path: Path, renders: Path, moving: Path) -> None:
    write_coco(renders)
    refine(renders, tmp_path / "out", moving, "--max-drift", 1, "--drop-objects")
    assert (tmp_path / "out" / "instances.json").read_text(encoding="utf-8") == coco_text(MOVED)


def test_a_label_table_keeps_every_other_cell(tmp_path: Path, renders: Path, moving: Path) -> None:
    write_cells(renders)
    refine(renders, tmp_path / "out", moving, "--max-drift", 1, "--drop-objects")
    before, after = rows(renders / "labels.csv"), rows(tmp_path / "out" / "labels.csv")
    for old, new in zip(before, after, strict=True):
        assert {key: old[key] for key in ("file", "note")} == {key: new[key] for key in ("file", "note")}
        objects = json.loads(old["objects"])
        objects["objects"] = [each for at, each in enumerate(objects["objects"]) if (old["file"], at) not in MOVED]
        assert json.loads(new["objects"]) == objects


def test_a_yolo_file_keeps_every_other_line(tmp_path: Path, renders: Path, moving: Path) -> None:
    write_yolo(renders)
    refine(renders, tmp_path / "out", moving, "--max-drift", 1, "--drop-objects")
    lines = [yolo_line(box) for box in BOXES]
    expected = f"\ufeff{lines[0]}  \n\n{lines[2]}\n{lines[3]}\n{lines[4]}"
    assert (tmp_path / "out" / "a.txt").read_bytes().decode() == expected
    assert (tmp_path / "out" / "sub" / "b.txt").read_bytes() == (renders / "sub" / "b.txt").read_bytes()
    assert (tmp_path / "out" / "c.txt").read_bytes().decode() == f"\n{lines[1]}\r\n{lines[3]}\n{lines[4]}"


def test_shards_give_what_one_run_gives(tmp_path: Path, renders: Path, moving: Path) -> None:
    write_coco(renders)
    options = ("--max-drift", 1, "--drop-objects")
    refine(renders, tmp_path / "whole", moving, *options)
    for number in (1, 2):
        assert refine(renders, tmp_path / "out", moving, *options, "--shard", f"{number}/2").exit_code == 0
    assert not (tmp_path / "out" / "instances.json").exists()
    assert refine(renders, tmp_path / "out", moving, *options).stdout.startswith("0 refined, 3 skipped")
    for name in ("drift.csv", "dropped_objects.csv", "instances.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_dropping_is_refused_where_it_cannot_be_done(tmp_path: Path, renders: Path, moving: Path) -> None:
    def message(*options: object) -> str:
        result = refine(renders, tmp_path / "out", moving, *options)
        assert result.exit_code == 2
        assert not list((tmp_path / "out").rglob("*.png"))
        return " ".join(result.stderr.split())

    assert "--drop-objects needs --max-drift" in message("--drop-objects")
    limit = ("--max-drift", 1, "--drop-objects")
    assert "--drop-objects needs annotated objects" in message(*limit)
    write_coco(renders)
    assert "leave one of them out" in message(*limit, "--mask", renders / "a.png")
    write_cells(renders)
    assert "two annotation files of different formats" in message(*limit)
    (renders / "instances.json").unlink()
    text = (renders / "labels.csv").read_text(encoding="utf-8")
    (renders / "labels.csv").write_text(text, encoding="utf-16")
    assert "labels.csv is not UTF-8; convert them first" in message(*limit)
    one = refine(renders / "a.png", tmp_path / "one.png", moving, *limit)
    assert (one.exit_code, "folder" in one.stderr) == (2, True)


@pytest.mark.parametrize("format", ["coco", "labels.csv"])
def test_a_store_holds_the_drift_of_its_objects(tmp_path: Path, renders: Path, moving: Path, format: str) -> None:
    FORMATS[format](renders)
    refine(renders, tmp_path / "folder", moving)
    assert CliRunner().invoke(main, ["convert", str(renders), str(tmp_path / "in.h5")]).exit_code == 0
    assert refine(tmp_path / "in.h5", tmp_path / "out.h5", moving, "--max-drift", 1).exit_code == 4
    table = [row for row in rows(tmp_path / "folder" / "drift.csv") if row["file"] == "sub/b.png"]
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["ids"][:].tolist() == [b"sub/b.png"]
        (found,) = [json.loads(text)["drift"] for text in file["labels/object_drift"][:]]
        assert file["labels/drift_score"][:].tolist() == [pytest.approx(float(table[0]["score"]), abs=1e-3)]
    assert len(found) == len(BOXES)
    for value, row in zip(found, table[1:], strict=True):
        assert (value["object"], value["class"], value["known"]) == (row["object"], row["class"], row["known"] == "1")
        for key in ("drift_px", "score", "structure"):
            assert row[key] == (f"{value[key]:.3f}" if value["known"] else "")
    # The labels of the store are as they were, and the folder that it becomes can be read.
    assert CliRunner().invoke(main, ["convert", str(tmp_path / "out.h5"), str(tmp_path / "again")]).exit_code == 0
    assert (tmp_path / "again" / "sub" / "b.png").is_file()
    assert refine(tmp_path / "in.h5", tmp_path / "no.h5", moving, "--max-drift", 1, "--drop-objects").exit_code == 2
