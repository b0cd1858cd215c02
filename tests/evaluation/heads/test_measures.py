"""What heads add to their measures, against independent arithmetic; and what they are tested on."""

import numpy as np
import pytest
import torch

from refiner.core.errors import UsageError
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.evaluation.heads.choice import find_shared, head_size
from refiner.evaluation.heads.classes import ClassesHead, balanced_accuracy
from refiner.evaluation.heads.head import Labelled, Shared
from refiner.evaluation.heads.masks import MasksHead, mean_iou
from refiner.evaluation.heads.points import PointsHead
from refiner.evaluation.samples import Original

SIZE = (30, 40)


def test_distances_and_shares_of_points() -> None:
    """Two images of 300x400, seen at 30x40: errors are in pixels of the large ones."""
    head = PointsHead(2, (300, 400))
    rng = np.random.default_rng(0)
    true, found = rng.uniform(0, 1, (2, 2, 2)), rng.uniform(0, 1, (2, 2, 2))
    found[0, 0] = true[0, 0] + [0.04, 0.03]  # (16, 9) of 400 x 300 pixels, within 5 % of 400
    true[1, 1] = np.nan
    targets, outputs = (head.targets(list(places), SIZE) for places in (true, found))
    sums = head.outcomes(outputs, targets)
    lengths = np.hypot(*((found - true) * [400, 300]).transpose(2, 0, 1))
    assert sums[:, 0] == pytest.approx(np.nansum(lengths, axis=1), rel=1e-4)
    assert sums[:, 1].tolist() == (lengths <= 20).sum(axis=1).tolist()
    assert sums[0, 1] >= 1
    assert sums[:, 2].tolist() == [2, 1]
    distance, share = head.measures(targets, targets)
    assert distance.statistic(sums.sum(axis=0)) == pytest.approx(np.nanmean(lengths), rel=1e-4)
    assert share.statistic(sums.sum(axis=0)) == pytest.approx(100 * (lengths <= 20).sum() / 3)
    # The best constant is the mean place of each point.
    middle = np.nanmean(true, axis=0)
    assert distance.constant == pytest.approx(
        np.nanmean(np.hypot(*((middle - true) * [400, 300]).transpose(2, 0, 1))), rel=1e-4
    )
    assert head.loss(outputs, targets).isfinite()


def test_intersection_over_union() -> None:
    rng = np.random.default_rng(1)
    true, found = rng.integers(0, 3, (5, 6, 9)), rng.integers(0, 3, (5, 6, 9))
    true[:, 0] = 255
    scores = torch.from_numpy(np.eye(3, dtype=np.float32)[found]).permute(0, 3, 1, 2)
    head = MasksHead(["a", "b"], [1, 1, 1])
    sums = head.outcomes(scores, torch.from_numpy(true.astype(np.uint8)))
    counted, shares = true != 255, []
    for number in (1, 2):
        ours, theirs = (found == number) & counted, (true == number) & counted
        shares.append((ours & theirs).sum() / (ours | theirs).sum())
        assert sums[:, 2 * number - 2].tolist() == (ours & theirs).sum(axis=(1, 2)).tolist()
    assert mean_iou(sums.sum(axis=0)) == pytest.approx(100 * np.mean(shares))
    # A class that is nowhere does not count; several repeats are computed at once.
    assert mean_iou(np.array([[1.0, 4, 0, 0], [1, 2, 3, 4]])).tolist() == [25, 62.5]
    (measure,) = head.measures(torch.zeros(1), torch.from_numpy(true.astype(np.uint8)))
    assert measure.constant == pytest.approx(100 * max((true == k).sum() for k in (1, 2)) / counted.sum() / 2)


def test_balanced_accuracy() -> None:
    rng = np.random.default_rng(2)
    true, scores = rng.random((50, 3)) < [0.1, 0.5, 0.9], rng.normal(0, 1, (50, 3))
    head = ClassesHead(["a", "b", "c"], [0.1, 0.5, 0.9])
    sums = head.outcomes(torch.from_numpy(scores), torch.from_numpy(true.astype(np.float32)))
    each = [[np.mean(scores[true[:, k], k] > 0), np.mean(scores[~true[:, k], k] <= 0)] for k in range(3)]
    assert balanced_accuracy(sums.sum(axis=0)) == pytest.approx(100 * np.mean(each))
    for constant in (-1.0, 1.0):
        always = head.outcomes(torch.full((50, 3), constant), torch.from_numpy(true.astype(np.float32)))
        assert balanced_accuracy(always.sum(axis=0)) == 50


def test_large_images_are_seen_smaller() -> None:
    assert head_size((36, 60)) == (36, 60)
    assert head_size((96, 128)) == (72, 96)
    assert head_size((480, 640)) == (72, 96)


# --- the labels that both sides share ----------------------------------------------------------------------------


def side(where: str, labels: list[dict[str, object]], info: AnnotationInfo | None = None) -> Labelled:
    return Labelled(where, [Original(row, SIZE) for row in labels], info)


def shared(renders: Labelled, real: Labelled, task: str = "auto", **options: object) -> Shared:
    return find_shared(renders, renders.rows, real, task=task, size=SIZE, **options)  # type: ignore[arg-type]


def annotated(*categories: str, outlined: bool = True) -> dict[str, object]:
    outline = ((2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0),)
    objects = [
        ObjectLabel(str(n), c, box=(2.0, 3.0, 10.0, 10.0), polygons=outline if outlined else ())
        for n, c in enumerate(categories)
    ]
    return {"objects": ImageAnnotations(tuple(objects))}


def test_the_first_labels_that_fit_are_taken() -> None:
    cup, mixed = annotated("cup"), [annotated("cup", "fork"), annotated("fork"), annotated("cup"), annotated()]
    found = shared(side("S", [cup] * 64), side("L", [cup] * 16))
    assert (found.task, found.about) == ("mask", "masks of 1 classes: cup")
    assert found.raw.shape == (64, *SIZE)
    assert int((found.real[0] == 1).sum()) == 100
    # Boxes alone become the presence of classes.
    boxes = [annotated("cup", outlined=False), annotated("fork", outlined=False)]
    found = shared(side("S", boxes * 32), side("L", boxes * 8))
    assert (found.task, found.raw[:2].tolist()) == ("classes", [[1, 0], [0, 1]])
    # If classes are everywhere, boxes are filled; also if outlines are on one side only, so that both sides agree.
    found = shared(side("S", [cup] * 64), side("L", [annotated("cup", outlined=False)] * 16))
    assert found.task == "mask"
    assert "One side has boxes only, so masks are the boxes of the objects." in found.notes
    found = shared(side("S", mixed * 16), side("L", mixed * 4), "classes")
    assert found.about == "presence of 2 classes: cup, fork"
    assert found.real[:4].tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]


def test_classes_are_matched_by_name_and_the_others_are_named() -> None:
    renders = [annotated("cup", "knife"), annotated("knife"), annotated("fork")] * 22
    real = [annotated("cup"), annotated("spoon"), annotated("fork")] * 6
    found = shared(side("renders", renders), side("labelled", real), "classes")
    assert found.about == "presence of 2 classes: cup, fork"
    assert found.notes == ["Only renders has these classes: knife.", "Only labelled has these classes: spoon."]
    # Pixels of classes that one side lacks are not counted.
    masks = shared(side("renders", [annotated("knife")] * 32 + [annotated("cup")] * 33), side("labelled", real), "mask")
    assert masks.pairs == list(range(65))
    assert int((masks.raw[0] == 255).sum()) == 100
    assert int((masks.raw[40] == 1).sum()) == 100


def test_the_class_of_a_whole_image_is_a_label_of_text() -> None:
    renders = [{"label": "cat"}, {"label": "dog"}] * 40
    found = shared(side("S", renders), side("L", [{"label": "dog"}, {"label": "cow"}, {"label": "cat"}] * 6))
    assert found.about == "presence of 2 classes: cat, dog"
    assert found.real[:3].tolist() == [[0, 1], [0, 0], [1, 0]]


def test_keypoints_are_matched_by_their_names() -> None:
    def body(points: list[float], number: int = 1) -> dict[str, object]:
        return {
            "objects": ImageAnnotations(tuple(ObjectLabel(str(n), "p", keypoints=tuple(points)) for n in range(number)))
        }

    def names(*keypoints: str) -> AnnotationInfo:
        return AnnotationInfo("coco", (Category(1, "p", keypoints),))

    renders = side("S", [body([3.5, 5.5, 2, 19.5, 14.5, 1])] * 70, names("head", "tail"))
    real = side(
        "L", [body([1, 1, 2, 0, 0, 0, 7.5, 2.5, 2])] * 20 + [body([1, 1, 2] * 3, 2)] * 5, names("tail", "nose", "head")
    )
    found = shared(renders, real)
    assert found.task == "points"
    assert list(found.tested) == list(range(20))  # two bodies are too many
    assert found.raw[0].tolist() == pytest.approx([3.5 / 40, 5.5 / 40, 19.5 / 40, 14.5 / 40])
    assert found.real[0].tolist() == pytest.approx([7.5 / 40, 2.5 / 40, 1 / 40, 1 / 40])


def test_points_of_images_of_another_size_are_scaled() -> None:
    renders = side("S", [{"pupil": np.array([3.5, 5.5])}] * 64)
    real = Labelled("L", [Original({"pupil": np.array([7.5, 11.5])}, (60, 80))] * 16)
    found = shared(renders, real)
    assert torch.allclose(found.raw[:16] + 0.5 / 40, found.real + 0.5 / 40)


@pytest.mark.parametrize(
    ("renders", "real", "task", "words"),
    [
        (
            [{}] * 70,
            [{}] * 20,
            "auto",
            r"points: both sides share no label of points; mask: both sides share no objects",
        ),
        ([annotated("a")] * 70, [annotated("b")] * 20, "mask", "the classes of S and of L have no name in common"),
        ([annotated("a")] * 70, [annotated("a")] * 15, "mask", "15 of 15 images of L have masks, but 16 are needed"),
        ([annotated("a")] * 63, [annotated("a")] * 20, "mask", "63 of 63 images of S have masks, but 64 are needed"),
        (
            [annotated("a")] * 70,
            [annotated("a")] * 20,
            "classes",
            r"present in some .*: a \(70 of 70 renders, 20 of 20 real\)",
        ),
        (
            [{"joints": np.zeros((2, 2))}] * 70,
            [{"joints": np.zeros((3, 2))}] * 20,
            "points",
            "joints has 2 points in S and 3 in L",
        ),
    ],
)
def test_labels_that_cannot_test_are_refused_with_numbers(
    renders: list[dict[str, object]], real: list[dict[str, object]], task: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        shared(side("S", renders), side("L", real), task)
