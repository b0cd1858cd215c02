"""A plain folder of images: what is listed, in which order, and what goes with it."""

import os
from pathlib import Path

import numpy as np
import pytest

from refiner.core.errors import DataError, ImageError
from refiner.data.folders.listing import list_files
from refiner.data.formats.folder import ImageFolder
from refiner.data.formats.registry import FORMATS, open_dataset
from refiner.images.io import write_image

EYE = np.arange(24, dtype=np.uint8).reshape(4, 6)


def test_every_image_of_the_tree_is_listed_once_and_sorted_and_unsupported_types_fail_by_name(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "a.jpeg", "sub/a.png", "sub/deep er/ü ñ.TIF", "b.c.bmp"]
    for name in names:
        write_image(tmp_path / name, EYE)
    for name in ("notes.txt", "labels.csv.bak", "z.gif"):
        (tmp_path / name).write_text("x")
    assert ImageFolder(tmp_path).ids == sorted([*names, "z.gif"])
    with pytest.raises(ImageError, match=r"z\.gif: is a \.gif file, and this type is not supported; convert it to PNG"):
        ImageFolder(tmp_path).read("z.gif")


def test_hidden_and_unfinished_files_are_left_out(tmp_path: Path) -> None:
    for name in (".hidden.png", ".cache/a.png", ".partial-x.png", "sub/.partial-y.png", "seen.png"):
        write_image(tmp_path / name, EYE)
    assert list_files(tmp_path) == ["seen.png"]


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    names = [f"{folder}{number}.png" for folder in ("", "b/", "a/") for number in (2, 10, 1)]
    for name in names:
        write_image(tmp_path / name, EYE)
    assert list_files(tmp_path) == sorted(names)


def test_links_are_followed_but_for_loops(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png", EYE)
    write_image(tmp_path / "elsewhere" / "b.png", EYE)
    (tmp_path / "in" / "file.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "dangling.png").symlink_to(tmp_path / "nowhere")
    assert list_files(tmp_path / "in") == ["a.png", "dangling.png", "file.png", "linked/b.png"]
    assert np.array_equal(ImageFolder(tmp_path / "in").read("file.png").image, EYE)


def test_a_folder_with_an_image_name_is_a_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png" / "a.png", EYE)
    assert ImageFolder(tmp_path).ids == ["x.png/a.png"]


def test_labels_go_with_their_image(tmp_path: Path) -> None:
    write_image(tmp_path / "sub" / "a.png", EYE)
    write_image(tmp_path / "b.png", EYE)
    (tmp_path / "labels.csv").write_text("file,gaze_pitch_rad,gaze_yaw_rad,subject\nsub/a.png,0.25,-0.5,p00\n")
    folder = ImageFolder(tmp_path)
    record = folder.read("sub/a.png")
    assert record.id == "sub/a.png"
    assert record.labels["gaze"].tolist() == [0.25, -0.5]
    assert record.labels["subject"] == "p00"
    assert folder.read("b.png").labels == {}


def test_a_bad_table_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", EYE)
    (tmp_path / "labels.csv").write_text("name,gaze\na.png,1\n")
    with pytest.raises(DataError, match=r"labels\.csv has no column 'file'"):
        ImageFolder(tmp_path).read("a.png")


def test_a_bad_image_is_rejected_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", EYE)
    (tmp_path / "b.png").write_text("text")
    folder = ImageFolder(tmp_path)
    assert np.array_equal(folder.read("a.png").image, EYE)
    with pytest.raises(ImageError, match=r"b\.png"):
        folder.read("b.png")


def test_nothing_to_read_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        _ = open_dataset(tmp_path).ids
    with pytest.raises(DataError, match="does not exist; name the folder or file that holds the images"):
        open_dataset(tmp_path / "missing")
    (tmp_path / "file.png").write_text("x")
    with pytest.raises(DataError, match=r"is a .* file, not a data set"):
        open_dataset(tmp_path / "file.png")
    with pytest.raises(DataError, match="is not a folder"):
        open_dataset(tmp_path / "file.png", format="folder")
    with pytest.raises(DataError, match="format mpii is unknown; expected one of store, unityeyes"):
        open_dataset(tmp_path, format="mpii")


def test_the_plain_folder_is_the_last_choice() -> None:
    assert list(FORMATS)[-1] == "folder"


def test_names_that_are_no_utf8_are_listed_and_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xe9ye.png")
    try:
        write_image(tmp_path / name, EYE)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert ImageFolder(tmp_path).ids == [name]
    assert np.array_equal(ImageFolder(tmp_path).read(name).image, EYE)
