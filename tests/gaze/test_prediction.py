import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import refiner
from refiner.core.errors import DataError, ImageError, OutputError
from refiner.data.labels.tables import read_labels, write_labels
from refiner.gaze.networks.estimators import GazeNetwork, HeadPose
from refiner.gaze.networks.file import EstimatorFile
from refiner.gaze.prediction import GazeEstimator, predict_dataset, predict_image
from refiner.images.arrays import to_planes
from refiner.images.io import read_image, write_image


def estimator(*, equalize: bool = False, head_pose: HeadPose = False) -> GazeEstimator:
    network = GazeNetwork("small", (16, 24), head_pose=head_pose).eval().requires_grad_(False)
    return GazeEstimator(EstimatorFile(network, {"equalize": equalize, "mean_gaze": [0, 0]}), device="cpu")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 24)).astype(np.uint8)


def read_table(path: Path) -> dict[str, list[float]]:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {row["file"]: [float(row["gaze_pitch_rad"]), float(row["gaze_yaw_rad"])] for row in rows}


@pytest.mark.parametrize("equalize", [False, True])
def test_every_kind_of_image_gives_the_same_gaze(equalize: bool, image: np.ndarray) -> None:
    estimate = estimator(equalize=equalize)
    wanted = cv2.equalizeHist(image) if equalize else image
    expected = estimate.network(torch.from_numpy(to_planes(wanted, 1))[None])[0].numpy()
    tensor = torch.from_numpy(to_planes(image, 1))[None]
    colour = np.dstack([image] * 3)
    for kind in (image, colour, image.astype(np.uint16) * 257, [image], tensor, tensor.expand(-1, 3, -1, -1)):
        found = estimate(kind)
        assert found.shape == (1, 2)
        assert found[0] == pytest.approx(expected, abs=1e-6)


def test_public_name() -> None:
    assert refiner.GazeEstimator is GazeEstimator


def test_an_image_does_not_feel_its_batch_mates(image: np.ndarray) -> None:
    estimate = estimator()
    images = [np.roll(image, shift) for shift in range(70)]
    assert np.array_equal(estimate(images), np.concatenate([estimate(single) for single in images]))
    assert estimate([]).shape == (0, 2)
    assert estimate(torch.zeros(0, 1, 16, 24)).shape == (0, 2)


def test_other_sizes_are_resized(image: np.ndarray) -> None:
    estimate = estimator()
    smooth = cv2.GaussianBlur(image, (0, 0), 2)
    large = cv2.resize(smooth, (48, 32), interpolation=cv2.INTER_CUBIC)
    assert estimate(large) == pytest.approx(estimate(smooth), abs=0.01)
    assert estimate(torch.from_numpy(to_planes(large, 1))[None]) == pytest.approx(estimate(large), abs=1e-6)
    with pytest.raises(ImageError, match="too far from the shape of 16x24"):
        estimate(image[:, :16])


def test_wrong_types_are_named(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="neither uint8 nor uint16"):
        estimator()(image.astype(float))
    with pytest.raises(ValueError, match="expected floats"):
        estimator()(torch.zeros(1, 2, 16, 24))
    for head_pose in (True, "yaw"):
        with pytest.raises(ValueError, match="needs the head pose of each image"):
            estimator(head_pose=head_pose)([image, image], [[0.1, 0.2]])
        assert estimator(head_pose=head_pose)([image, image], [[0.1, 0.2], [0, 0]]).shape == (2, 2)


@pytest.mark.parametrize("head_pose", [False, True, "yaw"])
def test_a_row_for_every_readable_image(head_pose: HeadPose, gazes: Path, tmp_path: Path) -> None:
    (gazes / "003.png").write_bytes(b"")
    write_image(gazes / "poseless.png", np.zeros((16, 24), np.uint8))
    estimate, out = estimator(head_pose=head_pose), tmp_path / "out" / "predictions.csv"
    summary = predict_dataset(estimate, gazes, out)
    assert summary == ((59, 2) if head_pose else (60, 1))
    table = read_table(out)
    assert list(table) == sorted({path.name for path in gazes.glob("*.png")} - {"003.png"})[: summary.predicted]
    if not head_pose:
        assert table["010.png"] == pytest.approx(estimate(read_image(gazes / "010.png"))[0], abs=1e-8)
    rejected = (tmp_path / "out" / "predictions.rejected.csv").read_text()
    assert "003.png,predict,is empty" in rejected
    assert ("has no head pose" in rejected) == bool(head_pose)


def test_the_yaw_of_the_labels_counts_and_their_pitch_does_not(gazes: Path, tmp_path: Path) -> None:
    estimate, labels = estimator(head_pose="yaw"), read_labels(gazes / "labels.csv")

    def predicted(name: str, change: list[float]) -> dict[str, list[float]]:
        moved = {sample: {**row, "head_pose": row["head_pose"] + change} for sample, row in labels.items()}
        write_labels(gazes / "labels.csv", moved)
        predict_dataset(estimate, gazes, tmp_path / name)
        return read_table(tmp_path / name)

    found = predicted("found.csv", [0, 0])
    pose = labels["010.png"]["head_pose"][None]
    assert found["010.png"] == pytest.approx(estimate(read_image(gazes / "010.png"), pose)[0], abs=1e-8)
    assert predicted("pitched.csv", [0.5, 0]) == found
    turned = predicted("turned.csv", [0, 0.5])
    assert all(turned[sample] != found[sample] for sample in labels)


@pytest.mark.parametrize("name", ["labels.csv", "table.csv", "predictions.rejected.csv"])
def test_only_a_table_of_predictions_is_replaced(gazes: Path, tmp_path: Path, name: str) -> None:
    """A table of labels may have the columns of one of predictions."""
    out = tmp_path / ("predictions.csv" if "rejected" in name else name)
    text = "file,gaze_pitch_rad,gaze_yaw_rad\na.png,0.1,0.2\n" if name == "labels.csv" else "file,score\na.png,7\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(OutputError, match=f"{name} already exists and is no table of predictions; choose another name"):
        predict_dataset(estimator(), gazes, out)
    assert (tmp_path / name).read_text() == text


def test_old_rejects_go_and_nothing_usable_is_an_error(gazes: Path, synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    (gazes / "003.png").write_bytes(b"")
    predict_dataset(estimator(), gazes, out)
    (gazes / "003.png").unlink()
    predict_dataset(estimator(), gazes, out)
    assert not (tmp_path / "predictions.rejected.csv").exists()
    with pytest.raises(OutputError, match="must not contain each other"):
        predict_dataset(estimator(), gazes, gazes / "predictions.csv")
    with pytest.raises(DataError, match="has no usable image among its 20 images"):
        predict_dataset(estimator(head_pose=True), synthetic, out)


def test_a_single_image(gazes: Path) -> None:
    estimate = estimator()
    assert predict_image(estimate, gazes / "000.png") == pytest.approx(estimate(read_image(gazes / "000.png"))[0])
    with pytest.raises(DataError, match="on which this estimator is conditioned"):
        predict_image(estimator(head_pose="yaw"), gazes / "000.png")
