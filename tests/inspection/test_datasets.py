"""Facts about a data set, and every fault that is planted in one."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refiner.core.errors import DataError
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.records import Record
from refiner.data.labels.tables import write_labels
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.io import write_image
from refiner.inspection.datasets import inspect_dataset, spread
from refiner.inspection.facts import DatasetFacts, Finding
from refiner.inspection.faults import find_faults

COUNT = 40


@pytest.fixture(scope="module")
def eyes() -> list[Record]:
    return list(rendered_records(EyeParameters(), COUNT, seed=2))


def write(folder: Path, records: list[Record], change: Callable[[dict], dict] = lambda labels: labels) -> Path:
    for record in records:
        write_image(folder / record.id, record.image)
    write_labels(folder / "labels.csv", {record.id: change(dict(record.labels)) for record in records})
    return folder


def look(folder: Path, **options: int) -> tuple[DatasetFacts, dict[str, Finding]]:
    facts = inspect_dataset(open_dataset(folder), **options)
    return facts, {finding.key: finding for finding in find_faults(facts)}


def test_sound_renders_give_facts_and_no_faults(tmp_path: Path, eyes: list[Record]) -> None:
    facts, faults = look(write(tmp_path, eyes))
    assert faults == {}
    assert (facts.format, facts.images, facts.sampled, facts.readable) == ("folder", COUNT, COUNT, COUNT)
    assert (facts.sizes, facts.depths, facts.channels) == ({"36x60": COUNT}, {"8 bits": COUNT}, {"grey": COUNT})
    assert facts.highest == max(record.image.max() for record in eyes) / 255
    gaze = np.array([record.labels["gaze"] for record in eyes])
    pitch, yaw = facts.labels["gaze"].ranges
    assert (pitch.name, yaw.name, facts.labels["gaze"].unit) == ("pitch", "yaw", "rad")
    assert (pitch.lowest, yaw.highest) == (pytest.approx(gaze[:, 0].min()), pytest.approx(gaze[:, 1].max()))
    assert (yaw.mean, yaw.deviation) == (pytest.approx(gaze[:, 1].mean()), pytest.approx(gaze[:, 1].std()))
    assert facts.labels["iris_outline"].shape == "32x2"
    assert sum(facts.subjects.values()) == COUNT
    assert facts.appearance.outline is not None
    assert facts.appearance.outline.source == "iris_outline"
    assert all(sign.correlation < -0.3 for sign in facts.signs if sign.images == "all")


def test_labels_in_degrees(tmp_path: Path, eyes: list[Record]) -> None:
    _, faults = look(write(tmp_path, eyes, lambda labels: {**labels, "gaze": np.degrees(labels["gaze"])}))
    assert list(faults) == ["degrees"]
    assert "gaze_pitch_rad is beyond pi in" in faults["degrees"].message
    assert "pi / 180" in faults["degrees"].remedy


@pytest.mark.parametrize(("sign", "name"), [((1, -1), "sign of yaw"), ((-1, 1), "sign of pitch")])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_flipped_sign(tmp_path: Path, sign: tuple[int, int], name: str, labelled: bool) -> None:
    """With the pupil's label, and without it by the iris that is found in the picture."""

    def change(labels: dict) -> dict:
        kept = labels if labelled else {"subject": labels["subject"]}
        return {**kept, "gaze": labels["gaze"] * np.array(sign)}

    _, faults = look(write(tmp_path, list(rendered_records(EyeParameters(), 120, seed=2)), change))
    assert list(faults) == [name]
    assert ("the pupil label" if labelled else "the iris found") in faults[name].message


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("sign", [(1, 1), (-1, 1)])
def test_swapped_angles(tmp_path: Path, labelled: bool, sign: tuple[int, int]) -> None:
    """Also if one of them was negated as well."""

    def change(labels: dict) -> dict:
        kept = labels if labelled else {"subject": labels["subject"]}
        return {**kept, "gaze": labels["gaze"][::-1] * np.array(sign)}

    facts, faults = look(write(tmp_path, list(rendered_records(EyeParameters(), 120, seed=2)), change))
    assert list(faults) == ["swapped angles"]
    assert ("the pupil label" if labelled else "the iris found") in faults["swapped angles"].message
    gaze, pupil = facts.angles["gaze"], [sign for sign in facts.signs if sign.images == "all"]
    assert [(one.angle, one.axis) for one in pupil] == [("yaw", "x"), ("pitch", "y")]
    assert all(abs(one.crosswise) > abs(one.correlation) for one in pupil)
    assert len(gaze) == 120


def test_a_flip_of_mirrored_images_alone(tmp_path: Path) -> None:
    def change(labels: dict) -> dict:
        mirrored = int(labels["subject"]) % 4 == 0
        return {**labels, "mirrored": int(mirrored), "gaze": labels["gaze"] * [1, -1 if mirrored else 1]}

    _, faults = look(write(tmp_path, list(rendered_records(EyeParameters(), 200, seed=2)), change))
    assert "in images that are mirrored" in faults["sign of yaw"].message


def test_images_that_show_nothing(tmp_path: Path, eyes: list[Record]) -> None:
    write(tmp_path, eyes)
    for number, level in enumerate([0, 0, 128]):
        write_image(tmp_path / f"{number:06d}.png", np.full((36, 60), level, np.uint8))
    facts, faults = look(tmp_path)
    assert list(faults) == ["black", "flat"]
    assert "2 of 40 images are black" in faults["black"].message
    assert faults["flat"].remedy == "look at 000002.png"
    assert facts.duplicates.count == 0


def test_duplicates(tmp_path: Path, eyes: list[Record]) -> None:
    twins = [Record(f"copy-{number}.png", eyes[number % 2].image, eyes[0].labels) for number in range(3)]
    facts, faults = look(write(tmp_path, eyes + twins))
    assert facts.duplicates.count == 3
    assert "3 of 43 images have the same pixels as another one" in faults["duplicates"].message


def test_missing_labels_and_rows_without_an_image(tmp_path: Path, eyes: list[Record]) -> None:
    write(tmp_path, eyes)
    rows = {record.id: record.labels for record in eyes[: COUNT // 2]}
    write_labels(tmp_path / "labels.csv", {**rows, "gone.png": eyes[0].labels})
    facts, faults = look(tmp_path)
    assert set(faults) == {"labels missing", "orphan rows", "images without row"}
    assert {name: missing.count for name, missing in facts.unlabelled.items()} == dict.fromkeys(
        ("gaze", "head_pose", "pupil"), COUNT // 2
    )
    assert "1 rows of labels.csv or annotations name images that do not exist" in faults["orphan rows"].message


def test_no_labels_at_all_are_no_fault(tmp_path: Path, eyes: list[Record]) -> None:
    for record in eyes:
        write_image(tmp_path / record.id, record.image)
    facts, faults = look(tmp_path)
    assert (facts.labels, faults) == ({}, {})


def test_two_sizes_depths_and_channels(tmp_path: Path, eyes: list[Record]) -> None:
    for record in eyes[:30]:
        write_image(tmp_path / record.id, record.image)
    for record in eyes[30:]:
        write_image(tmp_path / record.id, np.repeat(record.image[:, 5:, None], 3, axis=2).astype(np.uint16) * 257)
    _, faults = look(tmp_path)
    assert list(faults) == ["sizes", "depths", "channels"]
    assert "the images have 2 different sizes: 30 of 36x60, 10 of 36x55" in faults["sizes"].message
    assert faults["sizes"].remedy == f"bring them to one size: refiner convert {tmp_path} OUT --size 36x60"


def test_points_outside_the_image(tmp_path: Path, eyes: list[Record]) -> None:
    def change(labels: dict) -> dict:
        return {name: labels[name] + [0, 40] if name == "pupil" else labels[name] for name in ("pupil", "iris_outline")}

    _, faults = look(write(tmp_path, eyes, change))
    assert faults["outside"].message == "pupil is outside the image in 40 of 40 images"


def test_rejects_by_reason(tmp_path: Path, eyes: list[Record]) -> None:
    write(tmp_path, eyes)
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "c.png").write_bytes(b"nothing that is an image")
    facts, faults = look(tmp_path)
    assert (facts.rejected[0].count, facts.rejected[0].reason) == (2, "is empty")
    assert facts.rejected[0].examples == ("a.png", "b.png")
    assert "3 of 43 images cannot be used; most frequent reason: is empty (2)" in faults["rejected"].message


def test_a_damaged_table_leaves_the_images(tmp_path: Path, eyes: list[Record]) -> None:
    write(tmp_path, eyes)
    (tmp_path / "labels.csv").write_text("name,gaze\n1,2\n")
    facts, faults = look(tmp_path)
    assert facts.readable == COUNT
    assert "has no column 'file'" in faults["labels unreadable"].message


def test_implausible_and_constant_gaze(tmp_path: Path, eyes: list[Record]) -> None:
    _, faults = look(write(tmp_path, eyes, lambda labels: {"gaze": np.array([0.1, 2.5])}))
    assert set(faults) == {"range", "constant"}
    assert "pitch 5.7, yaw 143.2 degrees" in faults["constant"].message


def test_levels_that_waste_their_range(tmp_path: Path, eyes: list[Record]) -> None:
    for record in eyes:
        write_image(tmp_path / record.id, record.image.astype(np.uint16) * 4)
    _, faults = look(tmp_path)
    assert list(faults) == ["dim"]


def test_a_sample_is_spread_evenly(tmp_path: Path, eyes: list[Record]) -> None:
    assert spread(["a", "b", "c", "d", "e"], 2) == ["a", "c"]
    assert spread(["a", "b"], 0) == spread(["a", "b"], 7) == ["a", "b"]
    facts, _ = look(write(tmp_path, eyes), sample=10)
    assert (facts.images, facts.sampled, facts.labels["gaze"].count) == (COUNT, 10, 10)


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="none of the 1 inspected images can be read; most frequent reason: is empty"):
        look(tmp_path)


def test_words_and_numbers_of_a_table(tmp_path: Path, eyes: list[Record]) -> None:
    write(tmp_path, eyes[:3])
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["file", "weather", "lux"])
        table.writerows([[record.id, word, lux] for record, word, lux in zip(eyes, ("sun", "rain", "sun"), (5, 7, 9))])
    facts, _ = look(tmp_path)
    assert (facts.labels["weather"].values, facts.labels["weather"].ranges) == (2, ())
    (lux,) = facts.labels["lux"].ranges
    assert (lux.lowest, lux.highest, lux.mean) == (5, 9, 7)


@pytest.mark.parametrize(
    ("name", "images", "faults"),
    [
        ("mpiigaze_p00_dev", 1472, []),
        ("columbia_dev", 9960, ["labels missing", "images without row", "partly equalised"]),
        ("mpiigaze_unlabelled", 208, ["files beside images", "sizes"]),
        ("unityeyes/deepmetis", 80, []),
        ("syntheseyes", 26, []),
        ("webcam_dev", 600, []),
    ],
)
def test_real_data(real_data: Path, name: str, images: int, faults: list[str]) -> None:
    facts, found = look(real_data / name)
    assert (facts.images, list(found)) == (images, faults)
