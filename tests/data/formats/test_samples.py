"""The committed samples: each is recognised as its layout and gives its labels, and its program still writes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from refiner.data.formats.registry import FORMATS, open_dataset
from refiner.data.labels.angles import angular_error_degrees
from tools.build.samples import main

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "datasets" / "samples"

EYE = {"gaze": (2,), "head_pose": (2,)}
POINTS = {"pupil": (2,), "iris_outline": (32, 2), "lid_outline": (16, 2)}
HAND = {"joints": (14, 2), "joints_mm": (14, 3)}

EXPECTED: dict[str, tuple[str, int, tuple[int, ...], str, dict[str, tuple[int, ...]], set[str | None]]] = {
    "folder": ("folder", 6, (36, 60), "uint8", EYE | POINTS, set("012345")),
    "unityeyes": ("unityeyes", 3, (36, 60, 3), "uint8", EYE | POINTS, {"procedural_0", "procedural_1"}),
    "syntheseyes": ("syntheseyes", 3, (40, 60, 4), "uint8", {"gaze": (2,)}, {"f01", "m01"}),
    "mpiigaze": ("mpiigaze", 6, (36, 60), "uint8", EYE, {"p00", "p01"}),
    "mpiigaze-evaluation": ("mpiigaze", 3, (36, 60), "uint8", EYE, {"p00", "p01"}),
    "mpiigaze-hdf5": ("mpiigaze-hdf5/MPIIGaze.h5", 4, (36, 60), "uint8", EYE, {"p00", "p01"}),
    "gaze-hdf5": ("gaze-hdf5/real_gaze.h5", 3, (35, 55), "uint8", {}, {None}),
    "nyu-hand": ("nyu-hand", 2, (224, 224), "uint16", HAND, {None}),
    "nyu-hand-synthetic": ("nyu-hand", 2, (224, 224), "uint16", HAND, {None}),
}
"""By format: where its sample lies, how many images of which shape and type, shapes of labels, and subjects."""


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_is_recognised_and_gives_its_labels(name: str) -> None:
    inside, count, shape, dtype, labels, subjects = EXPECTED[name]
    if name not in ("mpiigaze-evaluation", "nyu-hand-synthetic"):  # these two share a folder with another
        assert type(open_dataset(SAMPLES / inside)) is FORMATS[name]
    dataset = open_dataset(SAMPLES / inside, format=name)
    assert len(dataset.ids) == count
    assert {dataset.subject(sample) for sample in dataset.ids} == subjects
    for sample in dataset.ids:
        record = dataset.read(sample)
        assert (record.image.shape, record.image.dtype) == (shape, dtype)
        assert np.ptp(record.image) > 20
        for label, size in labels.items():
            values = record.labels[label]
            assert values.shape == size
            assert np.isfinite(values).all()
        if "gaze" in labels:
            assert np.abs(record.labels["gaze"]).max() < 0.7
        for label in set(labels) & {"pupil", "joints"}:
            assert ((record.labels[label] >= 0) & (record.labels[label] < record.image.shape[1::-1])).all()


def test_both_eyes_of_a_mirrored_frame_are_the_same_picture_with_the_same_labels() -> None:
    """The sample's right eyes are flipped left ones, so reading must bring back image, gaze and head pose."""
    dataset = open_dataset(SAMPLES / "mpiigaze")
    for left, right in zip(dataset.ids[::2], dataset.ids[1::2]):
        first, second = dataset.read(left), dataset.read(right)
        assert np.array_equal(first.image, second.image)
        assert first.labels["gaze"] == pytest.approx(second.labels["gaze"])
        assert first.labels["head_pose"] == pytest.approx(second.labels["head_pose"])
        assert (first.labels["mirrored"], second.labels["mirrored"]) == (0, 1)


def test_joints_lie_on_the_hand_of_capsules() -> None:
    """A joint is in the middle of its finger: some 8 to 15 mm behind the surface that the camera sees."""
    dataset = open_dataset(SAMPLES / "nyu-hand")
    for sample in dataset.ids:
        record = dataset.read(sample)
        seen = [record.image[round(y), round(x)] for x, y in record.labels["joints"]]
        surface = record.labels["depth_near_mm"] + np.array(seen) / 65534 * 300
        assert np.abs(record.labels["joints_mm"][:, 2] - surface - 12).max() < 12


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("samples") / "out"
    assert CliRunner().invoke(main, [str(out)]).exit_code == 0
    again = CliRunner().invoke(main, [str(out)])
    assert (again.exit_code, "already" in again.stderr) == (1, True)
    return out


@pytest.mark.parametrize("name", EXPECTED)
def test_the_program_still_writes_them(name: str, written: Path) -> None:
    """Pixels may differ by a level between machines, labels by rounding."""
    committed, now = (open_dataset(root / EXPECTED[name][0], format=name) for root in (SAMPLES, written))
    assert [_without_angles(sample) for sample in committed.ids] == [_without_angles(sample) for sample in now.ids]
    for old, new in zip(committed.ids, now.ids):
        first, second = committed.read(old), now.read(new)
        assert np.abs(first.image.astype(float) - second.image).mean() < (1 if first.image.dtype == np.uint8 else 400)
        if "gaze" in first.labels:
            assert angular_error_degrees(first.labels["gaze"], second.labels["gaze"]) < 0.02


def _without_angles(sample: str) -> Any:
    return sample.split("_")[:2] if sample.count("_") == 3 else sample


def test_the_samples_are_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 150_000
