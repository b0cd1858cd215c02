"""Labels of a folder from a table and from annotation files, merged without losing any in silence."""

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from refiner.core.errors import ImageError
from refiner.data.annotations import registry
from refiner.data.folders.contents import read_contents
from refiner.data.folders.labels import FolderLabels, merge_infos, open_labels
from refiner.data.folders.selection import Selection
from refiner.data.formats.folder import ImageFolder
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.records import Labels
from refiner.images.io import write_image

EYE = np.arange(24, dtype=np.uint8).reshape(4, 6)


class Notes(Mapping[str, Labels]):
    """Labels in a file ``notes``: a line with an image, a label and a value, or with a label image and its image."""

    format = "notes"
    names: Sequence[str] = ("colour", "objects")
    problems: Sequence[str] = ("notes is old",)
    info = AnnotationInfo("notes", (Category(3, "eye"),))

    def __init__(self, file: str, text: str) -> None:
        self.files, self.rows = frozenset([file]), dict[str, Labels]()
        self.label_images: dict[str, str | None] = {}
        for line in text.splitlines():
            name, label, value = line.split()
            if label == "is-label-of":
                self.label_images[name] = value
            else:
                self.rows.setdefault(name, {})[label] = value

    @staticmethod
    def find(root: Path, files: Sequence[str], images: Sequence[str]) -> list["Notes"]:
        return [Notes(name, (root / name).read_text()) for name in files if name.startswith("notes")]

    def __getitem__(self, sample: str) -> Labels:
        labels = self.rows[sample]
        if labels.get("colour") == "faulty":
            raise ImageError(sample, "has a faulty colour")
        objects = ImageAnnotations((ObjectLabel("1", "eye", box=(1, 1, 2.5, 2)),))
        return {**labels, "objects": objects}

    def __contains__(self, sample: object) -> bool:
        return sample in self.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> "Notes":
        wanted = set(samples)
        lines = [f"{n} {k} {v}" for n, row in self.rows.items() if n in wanted for k, v in row.items()]
        return Notes(next(iter(self.files)), "\n".join(lines))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry, "READERS", {"notes": Notes})
    for name in ("a.png", "b.png", "c.png", "extra/a.png"):
        write_image(tmp_path / name, EYE)
    (tmp_path / "labels.csv").write_text("file,gaze_pitch_rad,gaze_yaw_rad,colour\na.png,0.25,-0.5,red\nb.png,0,0,\n")
    (tmp_path / "notes.dat").write_text(
        "a.png colour red\nb.png colour blue\nc.png colour faulty\ngone.png colour red\nextra/a.png is-label-of a.png\n"
    )
    (tmp_path / "other.txt").write_text("x")
    return tmp_path


def test_images_get_the_labels_of_all_sources(folder: Path) -> None:
    data = ImageFolder(folder)
    assert data.ids == ["a.png", "b.png", "c.png"]
    a, b = data.read("a.png").labels, data.read("b.png").labels
    assert a["gaze"].tolist() == [0.25, -0.5]
    assert (a["colour"], b["colour"]) == ("red", "blue")
    assert a["objects"].objects[0].box == (1, 1, 2.5, 2)
    with pytest.raises(ImageError, match=r"c\.png: has a faulty colour"):
        data.read("c.png")
    assert data.info is not None
    assert data.info.categories == (Category(3, "eye"),)


def test_label_images_and_annotation_files_are_known_by_their_use(folder: Path) -> None:
    contents = read_contents(folder)
    assert contents.label_images == {"extra/a.png": "a.png"}  # its name and content would not tell
    assert contents.companions == {"labels.csv": None, "notes.dat": None, "other.txt": None}
    reports = {report.key: report for report in ImageFolder(folder).left_out}
    assert reports["files beside images"].examples == ("other.txt",)
    assert reports["rows without image"].text == (
        "1 entry of labels.csv and notes.dat names no image, so its labels are not used: gone.png"
    )
    assert reports["annotation faults"].examples == ("notes is old",)
    assert "images without row" not in reports


def test_a_named_image_is_no_label_image_whatever_its_name(folder: Path) -> None:
    for name in ("a_mask.png", "b_mask.png"):
        write_image(folder / name, np.repeat(np.uint8([[0, 255]]), 12, axis=0).repeat(9, axis=1))
    assert read_contents(folder).label_images.keys() == {"a_mask.png", "b_mask.png", "extra/a.png"}
    with (folder / "notes.dat").open("a") as stream:
        stream.write("a_mask.png colour red\n")
    assert read_contents(folder).label_images.keys() == {"b_mask.png", "extra/a.png"}


def test_excluded_annotations_are_not_read(folder: Path) -> None:
    data = ImageFolder(folder, selection=Selection(exclude=("notes.dat",)))
    assert "objects" not in data.read("a.png").labels
    assert "extra/a.png" in data.ids
    assert data.info is None


def test_values_that_differ_are_named_and_the_first_source_counts(folder: Path) -> None:
    (folder / "labels.csv").write_text("file,colour\na.png,green\nb.png,blue\n")
    data = ImageFolder(folder)
    assert data.read("a.png").labels["colour"] == "green"
    report = next(report for report in data.left_out if report.key == "labels given twice")
    assert report.is_loss
    assert report.examples == ("colour of a.png (labels.csv is used, not notes.dat)",)


def test_classes_of_several_sources_are_merged_by_their_names() -> None:
    first = AnnotationInfo("coco", (Category(1, "cup"), Category(4, "fork")), {"kept": 1})
    second = AnnotationInfo("yolo", (Category(0, "fork"), Category(1, "spoon"), Category(7, "knife")))
    assert merge_infos([]) is None
    assert merge_infos([second]) == second
    merged = merge_infos([first, second])
    assert merged is not None
    assert (merged.format, merged.header) == ("coco", {"kept": 1})
    assert [(each.id, each.name) for each in merged.categories] == [(1, "cup"), (4, "fork"), (5, "spoon"), (7, "knife")]


def test_a_part_travels_to_another_process(folder: Path) -> None:
    labels = open_labels(folder, read_contents(folder))
    assert labels is not None
    assert sorted(labels) == ["a.png", "b.png", "c.png", "gone.png"]
    assert len(labels) == 4
    part: FolderLabels = pickle.loads(pickle.dumps(labels.only(["b.png", "c.png"], ["gaze", "colour"])))
    rows = part.sound_rows()  # without the faulty one
    assert rows.keys() == {"b.png"}
    assert rows["b.png"]["gaze"].tolist() == [0, 0]
    assert rows["b.png"]["colour"] == "blue"


def test_pictures_of_unread_types_can_be_label_images(folder: Path) -> None:
    (folder / "a_z.exr").write_bytes(b"depth")
    with (folder / "notes.dat").open("a") as stream:
        stream.write("a_z.exr is-label-of a.png\n")
    contents = read_contents(folder)
    assert contents.label_images["a_z.exr"] == "a.png"
    assert not contents.unsupported
