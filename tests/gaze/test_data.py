from pathlib import Path

import cv2
import numpy as np
import pytest

from refiner.core.errors import DataError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.labels.tables import read_labels, write_labels
from refiner.gaze.data import load_patches, split_held_out
from refiner.images.io import read_image, write_image


def load(*paths: Path, **options: object) -> object:
    settings = {"size": (16, 24), "equalize": False, "head_pose": False, "key": "data.train", **options}
    return load_patches(list(paths), **settings)


def test_images_and_labels_belong_together(gazes: Path) -> None:
    patches, labels = load(gazes, head_pose=True), read_labels(gazes / "labels.csv")
    assert len(patches) == 60
    for number in (0, 31, 59):
        sample = patches.ids[number]
        assert np.array_equal(patches.images[number, 0], read_image(gazes / sample))
        assert np.array_equal(patches.gaze[number], labels[sample]["gaze"])
        assert np.array_equal(patches.head_pose[number], labels[sample]["head_pose"])
        assert patches.columns["subject"][number] == labels[sample]["subject"]
    assert set(patches.columns) == {"subject", "day", "eye", "P"}


def test_a_store_gives_the_same(gazes: Path, tmp_path: Path) -> None:
    convert(gazes, tmp_path / "gazes.h5", Conversion())
    folder, store = load(gazes, head_pose=True), load(tmp_path / "gazes.h5", head_pose=True)
    assert folder.digest() == store.digest()
    assert folder.ids == store.ids
    assert folder.columns == store.columns


def test_several_data_sets_stand_one_after_another(gazes: Path, other_gazes: Path) -> None:
    both = load(gazes, other_gazes)
    assert len(both) == 100
    assert both.ids[60] == "000.png"
    assert both.digest() != load(other_gazes, gazes).digest()


def test_images_are_resized_and_equalised(gazes: Path) -> None:
    assert load(gazes, size=(8, 12)).images.shape == (60, 1, 8, 12)
    equalized = load(gazes, equalize=True).images[0, 0]
    assert np.array_equal(equalized, cv2.equalizeHist(read_image(gazes / "000.png")))


def test_what_cannot_be_used_is_left_out_and_said(gazes: Path, caplog: pytest.LogCaptureFixture) -> None:
    (gazes / "003.png").write_bytes(b"")
    write_image(gazes / "unknown.png", np.zeros((16, 24), np.uint8))
    patches = load(gazes)
    assert len(patches) == 59
    assert patches.unlabelled == 1
    assert patches.rejected == {str(gazes / "003.png"): "is empty"}
    assert "1 images without gaze were skipped" in caplog.text


def test_each_mistake_is_named(gazes: Path, synthetic: Path) -> None:
    with pytest.raises(DataError, match=r"data\.train is not set"):
        load()
    with pytest.raises(
        DataError,
        match=r"none of the 20 images of .* has a gaze label; expected a labels.csv with the columns",
    ):
        load(synthetic)
    labels = read_labels(gazes / "labels.csv")
    del labels["005.png"]["head_pose"]
    write_labels(gazes / "labels.csv", labels)
    with pytest.raises(DataError, match=r"1 images of .* have no head pose"):
        load(gazes, head_pose=True)


def test_held_out_subjects_are_in_no_other_part(gazes: Path) -> None:
    training, held_out, what = split_held_out(load(gazes), 0.3, "data.held_out")
    assert what == "subjects"
    assert len(training) + len(held_out) == 60
    assert not set(training.columns["subject"]) & set(held_out.columns["subject"])
    again, _, _ = split_held_out(load(gazes), 0.3, "data.held_out")
    assert again.ids == training.ids


def test_raw_and_refined_versions_of_an_image_fall_on_one_side(gazes: Path) -> None:
    labels = read_labels(gazes / "labels.csv")
    write_labels(gazes / "labels.csv", {sample: {"gaze": row["gaze"]} for sample, row in labels.items()})
    training, held_out, what = split_held_out(load(gazes, gazes), 0.3, "data.held_out")
    assert what == "images"
    assert len(held_out) > 4
    assert not set(training.ids) & set(held_out.ids)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("people", [2, 3, 5])
def test_few_subjects_are_kept_whole(people: int, share: float, gazes: Path) -> None:
    """Whatever the share, at least one subject is held out, and at least one is trained on."""
    for name in range(5):  # other names hash to other sides
        patches = load(gazes)
        patches.columns["subject"][:] = [f"{name} {number % people}" for number in range(60)]
        training, held_out, what = split_held_out(patches, share, "data.held_out")
        assert what == "subjects"
        assert training.columns["subject"]
        assert held_out.columns["subject"]
        assert not set(training.columns["subject"]) & set(held_out.columns["subject"])
        assert len(training) + len(held_out) == 60


def test_one_subject_is_split_by_images_with_a_warning(gazes: Path, caplog: pytest.LogCaptureFixture) -> None:
    patches = load(gazes)
    patches.columns["subject"][:] = ["only"] * 60
    _, held_out, what = split_held_out(patches, 0.2, "data.held_out")
    assert what == "images of the same subject"
    assert 4 < len(held_out) < 24
    assert "all images show one subject" in caplog.text
    assert split_held_out(patches, 0, "data.held_out")[1:] == (None, None)
    with pytest.raises(DataError, match="one image cannot be held out and trained on"):
        split_held_out(patches.take([0]), 0.5, "data.held_out")
