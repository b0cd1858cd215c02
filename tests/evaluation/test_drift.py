"""Label drift of an evaluation: that of the same labels as ``refine`` writes into its tables, in every layout."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refiner.data.drift.objects import ObjectDrift
from refiner.data.drift.table import DriftLimit, LabelDrift
from refiner.data.folders.selection import Selection
from refiner.data.labels.objects import ImageAnnotations, ObjectLabel
from refiner.data.labels.tables import read_labels, write_labels
from refiner.evaluation.evaluate import Evaluation, Settings, evaluate
from refiner.images.io import write_image
from refiner.inference.jobs.refine import refine_path
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

SIZE = (36, 48)
COUNT = 64
BARE = "005.png"
"""An image without mask."""


def scene(number: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], ImageAnnotations]:
    """A cup and a fork on clouds, with the mask of both and their boxes."""
    rng = np.random.default_rng(number)
    image = rng.integers(90, 140, (*SIZE, 3))
    mask, objects = np.zeros(SIZE, np.uint8), []
    for value, (name, colour) in enumerate({"cup": (230, 60, 40), "fork": (40, 90, 230)}.items(), 1):
        x, y = 24 * value - 22 + int(rng.integers(0, 8)), 2 + int(rng.integers(0, 16))
        image[y : y + 14, x : x + 12] = colour
        image[y + 4 : y + 8, x + 3 : x + 9] = rng.integers(0, 255, 3)
        mask[y : y + 14, x : x + 12] = value
        objects.append(ObjectLabel(str(value), name, box=(x, y, 12, 14)))
    return image.astype(np.uint8), mask, ImageAnnotations(tuple(objects))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Renders with boxes, and with masks beside them; real images; and a refiner that breaks some of the objects."""
    monkeypatch.setattr("refiner.evaluation.evaluate.measure_realism", lambda *_, **__: [])
    monkeypatch.setattr("refiner.evaluation.evaluate.load_features", lambda *_, **__: (None, None))
    labels = {}
    for number in range(COUNT):
        name = f"{number:03d}.png"
        image, mask, labels[name] = scene(number)
        write_image(tmp_path / "boxes" / name, image)
        write_image(tmp_path / "masks" / name, image)
        write_image(tmp_path / "real" / name, scene(1000 + number)[0])
        if name != BARE:
            write_image(tmp_path / "masks" / f"{number:03d}_mask.png", mask)
    write_labels(tmp_path / "boxes" / "labels.csv", {name: {"objects": each} for name, each in labels.items()})
    torch.manual_seed(3)
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, channels=3, output="residual"))
    torch.nn.init.normal_(network.head.weight, std=0.8)
    save_refiner(tmp_path / "r.safetensors", network, training={})
    return tmp_path


def judged(data: Path, kind: str, refined: str, **options: Any) -> Evaluation:
    return evaluate(data / kind, data / refined, data / "real", Settings(device="cpu", **options))


def table(folder: Path, name: str = "drift.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def rows(drifts: dict[str, LabelDrift]) -> list[tuple[str, str, float]]:
    """Image, object (empty for the image itself) and score of each row of ``drift.csv`` that has one."""
    found = []
    for name, drift in drifts.items():
        found.append((name, "", drift.score))
        found += [(name, each.id, each.score) for each in drift.objects if each.known]
    return found


def same(found: Sequence[tuple[str, str, float]], written: Sequence[dict[str, str]]) -> None:
    expected = [(row["file"], row["object"], float(row["score"])) for row in written if row["score"]]
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert [row[2] for row in found] == pytest.approx(
        [row[2] for row in expected], abs=0.01
    )  # refine measures before it rounds to 8 bits


@pytest.mark.parametrize("labelled", [False, True])
def test_masks_beside_images_are_the_objects_that_refine_sees(
    data: Path, labelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refiner.evaluation.evaluate.read_task", lambda *_: _NoTask())
    refine_path(data / "masks", data / "refined", data / "r.safetensors", device="cpu")
    for refined in ("refined", "r.safetensors"):
        found = judged(data, "masks", refined, labelled=data / "real" if labelled else None)
        same(rows(found.drifts), table(data / "refined"))
        assert len(found.drifts[BARE].objects) == 0
        assert "objects_lost" in {metric.key for metric in found.metrics}


class _NoTask:
    def measure(self, *_: Any) -> tuple[list[Any], list[str]]:
        return [], []


def test_dropped_objects_do_not_count_again(data: Path) -> None:
    limit = DriftLimit(1.0, drop_objects=True)
    summary = refine_path(data / "boxes", data / "refined", data / "r.safetensors", device="cpu", limit=limit)
    dropped = {(row["file"], row["object"]) for row in table(data / "refined", "dropped_objects.csv")}
    found = judged(data, "boxes", "refined")
    assert 10 < len(dropped) < len(found.drifts)
    assert (found.missing.by_drift, len(found.drifts)) == (summary.rejected, summary.refined)
    # Only objects that are still annotated count, with the drift that refine wrote.
    written = [row for row in table(data / "refined") if row["object"] and (row["file"], row["object"]) not in dropped]
    same([row for row in rows(found.drifts) if row[1]], written)
    assert max(drift.score for drift in found.drifts.values()) < 1.01
    kept = read_labels(data / "refined" / "labels.csv")
    assert [len(drift.objects) for drift in found.drifts.values()] == [
        len(kept[name]["objects"].objects) for name in found.drifts
    ]
    said = f"The refined images lack the annotations of {len(dropped)} of {2 * len(found.drifts)} objects"
    assert any(note.startswith(said) for note in found.notes)


def test_excluded_renders_are_not_missing(data: Path) -> None:
    selection = Selection(exclude=("00*",))
    refine_path(data / "boxes", data / "refined", data / "r.safetensors", device="cpu", selection=selection)
    found = judged(data, "boxes", "refined", selection=selection)
    assert (found.missing.renders, found.missing.unexplained, len(found.drifts)) == (COUNT - 10, (), COUNT - 10)


def test_a_drift_without_its_worst_object_is_that_of_the_next() -> None:
    objects = (
        ObjectDrift("1", "cup", x=3.0, score=3.0),
        ObjectDrift("2", "fork", y=2.0, score=2.0),
        ObjectDrift("3", "fork", known=False),
    )
    drift = LabelDrift(3.0, 0.0, None, 3.0, background=0.1, rest=0.5, objects=objects)
    assert drift.without([0])[:4] == (0.0, 2.0, None, 2.0)
    assert drift.without([0, 1])[:4] == (0.0, 0.0, None, 0.5)
    assert drift.without([])[:4] == drift[:4]
    assert drift.without([0]).objects == objects[1:]
