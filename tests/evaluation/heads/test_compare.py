"""Heads trained on raw and on refined renders: what helps has a gain above 0, what harms below, on any labels."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from refiner.commands import main
from refiner.data.labels.objects import ImageAnnotations, ObjectLabel
from refiner.data.labels.tables import write_labels
from refiner.evaluation.heads.classes import ClassesHead
from refiner.evaluation.heads.compare import compare
from refiner.evaluation.heads.head import Shared
from refiner.evaluation.heads.masks import MasksHead
from refiner.evaluation.heads.points import PointsHead
from refiner.evaluation.measurement import Metric
from refiner.evaluation.verdict import reach_verdict
from refiner.images.io import write_image
from refiner.models.classifier import SmallClassifier
from refiner.models.unet import SmallUNet

SIZE = (24, 32)
COLOURS = {"cup": (230, 60, 40), "fork": (40, 90, 230)}
TRAINED, TESTED = 80, 40


def scene(rng: np.random.Generator) -> tuple[np.ndarray, ImageAnnotations]:
    """A grey wall with at most one square of each class, told apart by its colour only."""
    image, objects = np.full((*SIZE, 3), 128.0), []
    for number, (name, colour) in enumerate(COLOURS.items()):
        if rng.random() < 0.6:
            x, y = 16 * number + int(rng.integers(0, 8)), int(rng.integers(0, 16))
            image[y : y + 8, x : x + 8] = colour
            outline = (x, y, x + 8, y, x + 8, y + 8, x, y + 8)
            objects.append(ObjectLabel(str(number), name, box=(x, y, 8, 8), polygons=(tuple(map(float, outline)),)))
    return image, ImageAnnotations(tuple(objects))


def seen(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The camera swaps red and blue, so that a head trained on renders takes one class for the other."""
    return image[..., ::-1] + rng.normal(0, 6, image.shape)


def written(folder: Path, images: list[np.ndarray], labels: list[ImageAnnotations] | None) -> Path:
    for number, image in enumerate(images):
        write_image(folder / f"{number:03d}.png", np.clip(np.rint(image), 0, 255).astype(np.uint8))
    if labels is not None:
        rows = {f"{number:03d}.png": {"objects": objects} for number, objects in enumerate(labels)}
        write_labels(folder / "labels.csv", rows)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Renders, refined ones as the camera sees them, ones that harm, and real images with and without labels."""
    rng = np.random.default_rng(5)
    renders, real, labelled = ([scene(rng) for _ in range(count)] for count in (TRAINED, TRAINED, TESTED))
    labels = [objects for _, objects in renders]
    written(tmp_path / "synthetic", [image for image, _ in renders], labels)
    written(tmp_path / "helpful", [seen(image, rng) for image, _ in renders], labels)
    written(tmp_path / "real", [seen(image, rng) for image, _ in real], None)
    written(tmp_path / "labelled", [seen(image, rng) for image, _ in labelled], [objects for _, objects in labelled])
    return tmp_path


def evaluated(
    data: Path, synthetic: str, refined: str, *options: str
) -> tuple[dict[str, dict[str, object]], str, list[str]]:
    arguments = [f"--synthetic={data / synthetic}", f"--refined={data / refined}", f"--real={data / 'real'}"]
    command = ["evaluate", *arguments, f"--labelled={data / 'labelled'}", "--device=cpu", "--json", *options]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    metrics = {metric["key"]: metric for metric in found["metrics"] if metric["family"] == "utility"}
    return metrics, " ".join(found["verdict"]["reasons"]), found["notes"]


@pytest.mark.usefixtures("quick_judgement")
@pytest.mark.parametrize(
    ("task", "key", "name"), [("classes", "class_accuracy", "balanced accuracy"), ("auto", "mask_iou", "mean IoU")]
)
def test_objects_are_tested_and_the_verdict_says_what_helps_and_what_harms(
    data: Path, monkeypatch: pytest.MonkeyPatch, task: str, key: str, name: str
) -> None:
    monkeypatch.setattr(ClassesHead, "steps", 60)
    monkeypatch.setattr(MasksHead, "steps", 40)
    metrics, reasons, notes = evaluated(data, "synthetic", "helpful", f"--task={task}")
    assert metrics.keys() == {key}
    assert metrics[key]["gain"]["low"] > 0
    assert "on real labels" not in reasons  # other rules judge a change of colours
    assert "2 classes: cup, fork, with 80 renders and 40 real images." in " ".join(notes)
    # The same data the other way round: refining harms.
    metrics, reasons, _ = evaluated(data, "helpful", "synthetic", f"--task={task}")
    assert metrics[key]["gain"]["high"] < 0
    assert f"Refining hurts on real labels: the {name} falls by" in reasons


def test_points_are_found_better_after_what_helps() -> None:
    """The point is where a dark disc is in real images, and a bright one in renders."""
    rng = np.random.default_rng(6)
    head = PointsHead(1, SIZE)
    head.steps = 60

    def images(count: int, level: float) -> tuple[torch.Tensor, torch.Tensor]:
        pictures, places = np.zeros((count, 1, *SIZE), np.float32), []
        for picture in pictures[:, 0]:
            x, y = rng.uniform(4, 28), rng.uniform(4, 20)
            cv2.circle(picture, (round(x), round(y)), 3, level, -1)
            places.append(np.array([[(x + 0.5) / 32, (y + 0.5) / 24]]))
        return torch.from_numpy(pictures), head.targets(places, SIZE)

    renders, targets = images(TRAINED, 0.9)
    real, true = images(TESTED, -0.9)
    shared = Shared("points", "1 point", head, targets, targets, true, range(TRAINED), range(TESTED))
    reports: list[tuple[int, int]] = []
    (error, found), notes = compare(shared, renders, -renders, real, None, report=lambda *of: reports.append(of))
    assert reports == [(number, 6) for number in range(7)]
    assert error.gain is not None
    assert error.gain.low > 0
    assert error.value.mean < 3 < error.baseline.mean  # type: ignore[union-attr]
    assert found.gain is not None
    assert found.gain.low > 0
    assert found.rises
    assert notes == []
    worse, _ = compare(shared, -renders, renders, real, None)
    assert worse[0].gain is not None
    assert worse[0].gain.mean == pytest.approx(-error.gain.mean)
    assert worse[0].gain.high < 0
    # Renders that are their own refinement gain exactly nothing.
    head.steps = 2
    same, _ = compare(shared, renders, renders, real, ["a", "b"] * (TESTED // 2))
    assert same[0].gain == (0, 0, 0)


def test_heads_that_learn_nothing_are_named() -> None:
    head = ClassesHead(["a"], [0.5])
    head.steps = 1
    images, labels = torch.zeros(8, 1, *SIZE), torch.tensor([[0.0], [1.0]] * 4)
    shared = Shared("classes", "presence of a", head, labels, labels, labels, range(8), range(8))
    (accuracy,), notes = compare(shared, images, images, images, None)
    assert accuracy.value.mean == 50
    assert "beat the best constant prediction (50.0 %), so their comparison says nothing about use." in notes[0]


def test_the_verdict_words_each_direction() -> None:
    def metric(key: str, unit: str, rises: bool, gain: tuple[float, float, float]) -> Metric:
        from refiner.metrics.intervals import Interval

        return Metric(key, key, "utility", unit, Interval(1, 1, 1), gain=Interval(*gain), rises=rises)

    def reasons(found: Metric) -> str:
        return " ".join(reach_verdict([found], [], change=3.0).reasons)

    assert "Refining helps on real labels: the error falls by 2.00 [1.00, 3.00] px." in reasons(
        metric("point_error", "px", False, (2, 1, 3))
    )
    assert "the mean IoU falls by 2.00 % (gain -2.00 [-3.00, -1.00] %)." in reasons(
        metric("mask_iou", "%", True, (-2, -3, -1))
    )
    assert "is not significant: the balanced accuracy rises by 0.50 [-1.00, 2.00] %." in reasons(
        metric("class_accuracy", "%", True, (0.5, -1, 2))
    )


@pytest.mark.parametrize("size", [(24, 32), (23, 31), (9, 14)])
def test_networks_of_any_size(size: tuple[int, int]) -> None:
    images = torch.zeros(2, 3, *size)
    assert SmallUNet(classes=4)(images).shape == (2, 4, *size)
    assert SmallClassifier(classes=5)(images).shape == (2, 5)
