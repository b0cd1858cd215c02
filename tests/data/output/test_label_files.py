"""Labels of a folder that is written: in the format of the user's choice, and the rest in labels.csv."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refiner.core.errors import DataError, OutputError, UsageError
from refiner.data import convert as convert_module
from refiner.data.annotations import registry
from refiner.data.annotations.source import LabelledImage, Lost
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.formats.folder import ImageFolder
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.tables import write_labels
from refiner.data.output import label_files
from refiner.data.output.label_files import usual_format
from refiner.data.store.reader import Store
from refiner.images.io import write_image

INFO = AnnotationInfo("pairs", (Category(7, "shape", ("tip",)),), {"note": "ü \ud800"})


class Pairs:
    """Writer of one file for all images and one for each."""

    @staticmethod
    def image_name(name: str) -> str:
        return name if name.startswith("images/") else f"images/{name}"

    @staticmethod
    def holds(label: str) -> bool:
        return label == "objects"

    @staticmethod
    def write(
        root: Path, images: Iterable[LabelledImage], info: AnnotationInfo | None, lost: Lost | None = None
    ) -> list[str]:
        assert not list(root.iterdir())
        rows = [[image.name, image.size, [vars(each) for each in _objects(image)]] for image in images]
        text = json.dumps({"images": rows, "classes": [] if info is None else [each.name for each in info.categories]})
        (root / "pairs.json").write_text(text)
        (root / "deep").mkdir()
        (root / "deep" / "count.txt").write_text(str(len(rows)))
        return ["pairs.json", "deep/count.txt"]


def _objects(image: LabelledImage) -> tuple[ObjectLabel, ...]:
    found = image.labels["objects"]
    assert isinstance(found, ImageAnnotations)
    return found.objects


def annotations(number: int) -> ImageAnnotations:
    box = (1.5, 2.0, 3.25, 4)
    tip = (4.5, 3.5, 2)
    return ImageAnnotations(tuple(ObjectLabel(str(n), "shape", box=box, keypoints=tip) for n in range(number)))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images of 12x16 with 0 to 3 objects and a gaze each."""
    for module in (registry, label_files, convert_module):
        monkeypatch.setattr(module, "WRITERS", {"pairs": Pairs})
    folder = tmp_path / "in"
    for number in range(4):
        write_image(folder / f"{number}.png", np.full((12, 16), 20 * number, np.uint8))
    gaze = np.array([0.25, -0.5])
    write_labels(
        folder / "labels.csv", {f"{n}.png": {"gaze": gaze, "objects": annotations(n), "day": "7"} for n in range(4)}
    )
    (folder / "labels.info.json").write_text(INFO.to_json().encode(errors="backslashreplace").decode())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".refiner" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run(root: Path, out: str, to: str | None = None, **options: Any) -> dict[str, bytes]:
    convert(root, root.parent / out, options.pop("conversion", Conversion()), to=to, **options)
    return contents(root.parent / out)


def test_objects_go_into_the_annotations_and_other_labels_into_the_table(root: Path) -> None:
    files = run(root, "out", "pairs")
    assert sorted(files) == ["deep/count.txt", *(f"images/{n}.png" for n in range(4)), "labels.csv", "pairs.json"]
    written = json.loads(files["pairs.json"])
    assert written["classes"] == ["shape"]
    assert [(name, size, len(found)) for name, size, found in written["images"]] == [
        (f"images/{n}.png", [12, 16], n) for n in range(4)
    ]
    assert written["images"][1][2][0]["box"] == [1.5, 2.0, 3.25, 4]
    assert files["labels.csv"].decode().split() == [
        "file,gaze_pitch_rad,gaze_yaw_rad,day",
        *(f"images/{n}.png,0.25,-0.5,7" for n in range(4)),
    ]


def test_a_table_of_objects_keeps_everything_through_folders_and_stores(root: Path) -> None:
    before = ImageFolder(root)
    assert usual_format(before) == "folder"
    first = run(root, "out")
    assert first == {name: first[name] for name in contents(root)}
    convert(root, root.parent / "a.h5", Conversion())
    assert usual_format(Store(root.parent / "a.h5")) == "folder"
    again = run(root.parent / "a.h5", "back")
    assert again == first
    for data in (ImageFolder(root.parent / "back"), Store(root.parent / "a.h5")):
        assert data.info == INFO
        assert [data.read(f"{n}.png").labels["objects"] for n in range(4)] == [annotations(n) for n in range(4)]


def test_objects_move_with_their_images(root: Path) -> None:
    """A crop of 8 x 12 starts 2 below and 2 right; the resize halves the height and keeps the width."""
    files = run(root, "out", "pairs", conversion=Conversion(size=(4, 12), crop=(8, 12)))
    _, size, (found, *_) = json.loads(files["pairs.json"])["images"][3]
    assert size == [4, 12]
    # x from 1.5 to 4.75 becomes 0 to 2.75; y from 2 to 6 becomes 0 to 4, and then half of it.
    assert found["box"] == pytest.approx([0, 0, 2.75, 2])
    # The centre of a pixel: x 4.5 becomes 2.5; y 3.5 is 4 from the edge, 2 from the new edge, 1 after the resize.
    assert found["keypoints"] == pytest.approx([2.5, 0.5, 2])


def test_parts_have_the_annotations_of_their_images_only(root: Path) -> None:
    files = run(root, "parts", "pairs", split={"a": 0.5, "b": 0.5}, by="id")
    names = {}
    for part in "ab":
        images = {name.removeprefix(f"{part}/") for name in files if name.startswith(f"{part}/images")}
        names[part] = {row[0] for row in json.loads(files[f"{part}/pairs.json"])["images"]}
        assert names[part] == images
    assert len(names["a"]) + len(names["b"]) == 4
    few = run(root, "few", "pairs", limit=2)
    assert json.loads(few["deep/count.txt"]) == 2


def test_another_format_is_another_job(root: Path) -> None:
    first = run(root, "out", "pairs")
    assert run(root, "out", "pairs") == first
    second = run(root, "out", "folder")
    assert "labels.info.json" in second
    assert not any(name.startswith(("images/", "pairs", "deep")) for name in second)
    assert run(root, "out", "pairs") == first


def test_a_file_of_the_user_is_not_replaced(root: Path) -> None:
    (root.parent / "out").mkdir()
    (root.parent / "out" / "pairs.json").write_text("mine")
    with pytest.raises(OutputError, match=r"pairs\.json already exists and was not written by refiner"):
        run(root, "out", "pairs")
    assert (root.parent / "out" / "pairs.json").read_text() == "mine"
    assert json.loads(run(root, "out", "pairs", overwrite=True)["deep/count.txt"]) == 4


def test_a_file_beside_the_images_does_not_replace_the_annotations(root: Path) -> None:
    (root / "pairs.json").write_text("other")
    summary = convert(root, root.parent / "out", Conversion(), to="pairs")[""]
    assert json.loads((root.parent / "out" / "pairs.json").read_text())["classes"] == ["shape"]
    (report,) = [report for report in summary.left_out if report.is_loss]
    assert report.examples == ("pairs.json",)
    assert summary.label_format == "pairs"
    assert summary.label_files == ["deep/count.txt", "pairs.json", "labels.csv"]


def test_a_store_takes_no_format(root: Path) -> None:
    with pytest.raises(UsageError, match="is a store"):
        convert(root, root.parent / "a.h5", Conversion(), to="pairs")


def test_damaged_facts_are_named(root: Path) -> None:
    (root / "labels.info.json").write_text("{}")
    with pytest.raises(DataError, match=r"labels\.info\.json is not the JSON of a data set's annotations"):
        run(root, "out")
