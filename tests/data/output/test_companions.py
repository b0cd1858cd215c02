"""Files beside images go along in a conversion as long as they fit, and are named where they do not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refiner.core.errors import WrongInputError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.folders.selection import Selection
from refiner.images.io import read_image, write_image

POSITIONS = "they may hold positions in pixels, and --crop or --size changes the images"

FILES = {"{}.xml": b"<a/>", "{}_landmarks.txt": b"3 4\n", "{}.npy": b"\x93NUMPY", "{}.json": b"{}"}
SHARED = {"classes.yaml": b"a: 1\n", "README.md": b"# Eyes\n", "gaze.csv": b"x,y\n1,2\n"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four renders with a mask, a map of classes in another folder, and label files each."""
    noise = np.random.default_rng(0)
    for number in range(4):
        write_image(tmp_path / "in" / f"a/{number}.png", noise.integers(0, 256, (24, 36), dtype=np.uint8))
        labels = np.zeros((24, 36), np.uint8)
        labels[4:18, 3 + number : 30] = 7
        labels[9:15, 11:19] = 255
        write_image(tmp_path / "in" / f"a/{number}_seg.png", labels)
        write_image(tmp_path / "in" / f"masks/a/{number}.png", labels // 7)
        for name, data in FILES.items():
            (tmp_path / "in" / "a" / name.format(number)).write_bytes(data + b"%d" % number)
    for name, data in SHARED.items():
        (tmp_path / "in" / name).write_bytes(data)
    return tmp_path / "in"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".refiner" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run(root: Path, out: str, **options: Any) -> tuple[dict[str, bytes], dict[str, int]]:
    """Convert; return the files, and the number of files and rows that were lost, by kind."""
    settings = Conversion(**{k: options.pop(k) for k in ("size", "crop", "selection") if k in options})
    summaries = convert(root, root.parent / out, settings, **options)
    lost = {report.key: report.count for summary in summaries.values() for report in summary.left_out if report.is_loss}
    return contents(root.parent / out), lost


def test_everything_goes_along_byte_for_byte_if_the_images_keep_their_size(root: Path) -> None:
    before = contents(root)
    for out, options in (("plain", {}), ("same", {"size": (24, 36)}), ("again", {"crop": (24, 36)})):
        files, lost = run(root, out, **options)
        assert lost == {}
        assert files.keys() == before.keys()
        assert all(data == before[name] for name, data in files.items() if "/" not in name or name[-5] not in "0123")
        assert all(files[name] == before[name] for name in files if "seg" in name or "mask" in name)
        assert run(root, out, **options) == (files, {})


@pytest.mark.parametrize(
    ("options", "rows", "columns"),
    [
        ({"size": (8, 12)}, np.arange(8) * 3 + 1, np.arange(12) * 3 + 1),  # the middle of three
        ({"crop": (12, 20)}, np.arange(6, 18), np.arange(8, 28)),
        ({"crop": (18, 30), "size": (6, 10)}, np.arange(6) * 3 + 4, np.arange(10) * 3 + 4),
    ],
)
def test_label_images_follow_a_change_of_size_without_new_values(
    root: Path, options: dict[str, Any], rows: Any, columns: Any
) -> None:
    files, lost = run(root, "out", **options)
    for number in range(4):
        for name in (f"a/{number}_seg.png", f"masks/a/{number}.png"):
            expected = read_image(root / name)[np.ix_(rows, columns)]
            assert np.array_equal(read_image(root.parent / "out" / name), expected), name
    assert sum(lost.values()) == 4 * len(FILES) + 2  # the notes hold no positions
    assert not any(name.endswith((".xml", ".txt", ".npy", ".json", ".yaml")) for name in files)


def test_a_mask_with_a_palette_or_of_another_size_is_left_out_and_named(root: Path) -> None:
    write_image(root / "a/2_seg.png", np.repeat(np.repeat(read_image(root / "a/2_seg.png"), 2, 0), 2, 1))
    files, lost = run(root, "out", size=(12, 18))
    assert "a/2_seg.png" not in files
    assert sum("another size than its image" in key for key in lost) == 1


def test_files_that_name_images_as_they_were_called_are_named(tmp_path: Path) -> None:
    """A JPEG file becomes a PNG file, also beside the segments of a panoptic file, which are no objects."""
    noise = np.random.default_rng(0)
    for number in range(2):
        write_image(tmp_path / f"in/{number}.jpg", noise.integers(0, 256, (24, 36, 3), dtype=np.uint8))
        (tmp_path / f"in/{number}.xml").write_text(f"<filename>{number}.jpg</filename>")
    (tmp_path / "in/notes.txt").write_text("0 and 1")
    segments = {"id": 1, "category_id": 1, "area": 4, "bbox": [1, 1, 2, 2]}
    panoptic = {
        "images": [{"id": number, "file_name": f"{number}.jpg", "height": 24, "width": 36} for number in range(2)],
        "annotations": [{"image_id": 0, "file_name": "0.png", "segments_info": [segments]}],
        "categories": [{"id": 1, "name": "sky"}],
    }
    (tmp_path / "in/panoptic.json").write_text(json.dumps(panoptic))
    summary = convert(tmp_path / "in", tmp_path / "out", Conversion())[""]
    assert contents(tmp_path / "out").keys() == {"0.png", "1.png", "0.xml", "1.xml", "notes.txt", "panoptic.json"}
    (report,) = (report for report in summary.left_out if report.key == "former names of images")
    assert report.examples == ("0.xml", "1.xml", "panoptic.json")
    assert not report.is_loss
    files, lost = run(tmp_path / "in", "small", size=(12, 18))
    assert (files.keys(), lost) == ({"0.png", "1.png"}, {f"files left out: {POSITIONS}": 4})


def test_notes_go_along_under_another_size(root: Path) -> None:
    (root / "README.dataset.txt").write_text("of Roboflow")
    files, _ = run(root, "out", size=(12, 18))
    assert {name: files.get(name) for name in ("README.md", "README.dataset.txt")} == {
        "README.md": SHARED["README.md"],
        "README.dataset.txt": b"of Roboflow",
    }


def test_parts_get_the_files_of_their_images(root: Path) -> None:
    files, lost = run(root, "parts", split={"train": 0.5, "test": 0.5}, by="id")
    assert lost == {}
    for number in range(4):
        sides = {name.partition("/")[0] for name in files if name.rpartition("/")[2].startswith(str(number))}
        assert len(sides) == 1  # image, masks and label files together
    assert {name for name in files if "classes" in name} <= {"train/classes.yaml", "test/classes.yaml"}
    few, lost = run(root, "few", limit=2)
    assert lost == {}
    assert sum(name.startswith("a/") for name in few) == 2 * (2 + len(FILES))


def test_a_store_names_what_it_cannot_hold(root: Path) -> None:
    summary = convert(root, root.parent / "out.h5", Conversion())[""]
    assert summary.written == 4
    assert [report.count for report in summary.left_out if report.is_loss] == [8 + 4 * len(FILES) + 2]


def test_excluded_files_are_no_loss(root: Path) -> None:
    files, lost = run(root, "out", selection=Selection(("[0-2].png",), ("1.*", "*.xml", "masks")))
    assert lost == {}
    assert {name for name in files if name.startswith("a/") and name.endswith("png")} == {"a/0.png", "a/2.png"}
    assert not any("1" in name or name.endswith(".xml") for name in files)


def test_rows_and_images_without_partner_are_reported_and_no_match_is_refused(root: Path) -> None:
    table = root / "labels.csv"
    table.write_text("file;gaze_pitch_deg;gaze_yaw_deg\na\\0.png;90,0;-1,5\nA/1.jpg;1;2\nb/9.png;1;2\n")
    files, lost = run(root, "out")
    assert lost == {"rows without image": 1, "images without row": 2}
    rows = files["labels.csv"].decode().split()
    assert rows[0] == "file,gaze_pitch_rad,gaze_yaw_rad"
    values = {row.split(",")[0]: [float(cell or "nan") for cell in row.split(",")[1:]] for row in rows[1:]}
    assert values["a/0.png"] == pytest.approx([np.pi / 2, -np.pi / 120])
    assert values["a/1.png"] == pytest.approx([np.pi / 180, np.pi / 90])
    (root / "rejected.csv").write_text("file,stage,reason\nb/9.png,drift,too far\n")
    assert run(root, "told")[1] == {"images without row": 2}
    table.write_text("file,subject\nx/7.png,p\n")
    with pytest.raises(WrongInputError, match=r"the first row names x/7\.png, and the first image is a/0\.png"):
        run(root, "refused")


def test_links_to_devices_are_left_out_and_named(root: Path) -> None:
    """A link to a device has no end: copying it would fill the disk."""
    for name in ("a/1.txt", "rejected.csv"):
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to("/dev/zero")
    files, lost = run(root, "out")
    assert "a/1.txt" not in files
    assert sum(lost.values()) == 1
