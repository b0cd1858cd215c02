"""Drift against shifts that are known, and what the demo's recipe does to the pupils of procedural eyes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.data.drift.scores import measure_drift
from refiner.data.output.records_writer import write_folder
from refiner.demos.eyes import RECIPE
from refiner.eyes.records import rendered_records
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters, PlacementRanges
from refiner.eyes.target_camera import TargetCamera, target_parameters
from refiner.images.arrays import to_planes, to_uint8
from refiner.inference.refiner import Refiner
from refiner.training.train import train

PEOPLE = EyeParameters(images_per_person=4)


@pytest.fixture(scope="module")
def eyes() -> tuple[Tensor, Tensor]:
    """Images and pupils of 600 eyes."""
    batch = render_eyes(PEOPLE, range(600), seed=71)
    return batch.images, batch.pupil


def photographed(images: Tensor) -> Tensor:
    camera = TargetCamera(9)
    return torch.from_numpy(np.stack([to_planes(camera(to_uint8(x), i), 1) for i, x in enumerate(images.numpy())]))


def test_nothing_moved(eyes: tuple) -> None:
    images, pupils = eyes
    drift = measure_drift(images, images, pupils)
    assert drift.distance < 0.12  # what the parabola through three correlations leaves
    assert drift.agreement.min() > 0.999


def test_whole_pixels_are_found_in_x_and_y(eyes: tuple) -> None:
    images, pupils = eyes
    drift = measure_drift(images, torch.roll(images, shifts=(-1, 2), dims=(2, 3)), pupils)
    assert drift.vector == pytest.approx((2, -1), abs=0.05)


@pytest.mark.parametrize("millimetres", [0.2, 0.5, 1.0])
def test_shifts_that_the_renderer_makes_are_found_below_a_pixel(millimetres: float) -> None:
    """The same eyes, rendered to the right by a known distance: 0.625 mm a pixel."""
    first, second = (
        render_eyes(
            PEOPLE.model_copy(update={"placement": PlacementRanges(right_mm=(r, r), down_mm=(0, 0), scale=(1, 1))}),
            range(200),
            seed=3,
        )
        for r in (0.0, millimetres)
    )
    known = second.pupil - first.pupil
    drift = measure_drift(first.images, second.images, first.pupil)
    assert known.mean(dim=0).tolist() == pytest.approx([millimetres / 0.625, 0], abs=1e-3)
    assert drift.vector == pytest.approx((millimetres / 0.625, 0), abs=0.1)
    assert np.linalg.norm(drift.shifts - known.numpy(), axis=1).mean() < 0.25


def test_a_camera_moves_nothing(eyes: tuple) -> None:
    images, pupils = eyes
    drift = measure_drift(images, photographed(images), pupils)
    assert np.hypot(*drift.vector) < 0.1
    assert drift.distance < 0.5


def test_a_pupil_that_is_gone_agrees_with_nothing(eyes: tuple) -> None:
    images, pupils = eyes
    swapped = measure_drift(images, images.roll(4, dims=0), pupils)
    assert np.median(swapped.agreement) < 0.8
    assert measure_drift(images, torch.zeros_like(images), pupils).agreement.max() < 1e-3


def test_agreement_is_the_correlation_of_the_neighbourhoods(eyes: tuple) -> None:
    """Against NumPy's, at every shift that is looked for."""
    images, pupils = eyes[0][:5], eyes[1][:5]
    other = images.roll((1, 2), dims=(2, 3)) + 0.2 * torch.randn(
        images.shape, generator=torch.Generator().manual_seed(0)
    )
    drift = measure_drift(images, other, pupils)
    for number, (x, y) in enumerate(pupils.round().int().tolist()):

        def around(picture: Tensor, dx: int, dy: int, x: int = x, y: int = y, number: int = number) -> np.ndarray:
            rows = np.clip(np.arange(y + dy - 8, y + dy + 9), 0, 35)
            columns = np.clip(np.arange(x + dx - 8, x + dx + 9), 0, 59)
            return picture[number, 0].numpy()[np.ix_(rows, columns)].ravel()

        shifts = [(dx, dy) for dx in range(-3, 4) for dy in range(-3, 4)]
        agreements = [np.corrcoef(around(images, 0, 0), around(other, dx, dy))[0, 1] for dx, dy in shifts]
        assert float(drift.agreement[number]) == pytest.approx(max(agreements), abs=1e-4)
        best = shifts[int(np.argmax(agreements))]
        assert np.abs(drift.shifts[number] - best).max() <= 0.5


def test_shapes_that_do_not_fit_are_refused(eyes: tuple) -> None:
    images, pupils = eyes
    with pytest.raises(ValueError, match=r"the shapes are .* twice"):
        measure_drift(images, images, pupils[:-1])


def assert_pupils_survive(refiner: Refiner, images: Tensor, pupils: Tensor) -> None:
    """Mean shift vector below 0.2 px, mean distance at most 0.5 px above the measure's own noise, for a real change."""
    refined = refiner(images)
    assert (refined - images).abs().mean() > 0.03  # it does refine: four grey levels and more
    drift, noise = (measure_drift(images, other, pupils) for other in (refined, photographed(images)))
    assert np.hypot(*drift.vector) < 0.2
    assert drift.distance <= noise.distance + 0.5
    assert np.median(drift.agreement) > 0.8


def test_pupils_survive_a_refiner_of_the_demo_s_recipe(eyes: tuple, tmp_path: Path) -> None:
    people = target_parameters().model_copy(update={"images_per_person": 4})
    for name, parameters, camera in (("synthetic", PEOPLE, None), ("real", people, TargetCamera(1))):
        records = rendered_records(parameters, 400, seed=72, camera=camera)
        write_folder(tmp_path / name, records, 400, labelled=False, report=lambda done, total: None)
    data = {"synthetic": tmp_path / "synthetic", "real": tmp_path / "real"}
    configuration = TrainingConfiguration.model_validate({**RECIPE, "steps": 120, "data": data})
    refiner = Refiner.load(train(configuration, tmp_path / "run", device="cpu"))
    assert_pupils_survive(refiner, *eyes)


def test_pupils_survive_the_pretrained_refiner(eyes: tuple) -> None:
    """Its images are also as soft as those of the simulated target camera; the renders are sharper."""
    refiner = Refiner.load("demo", device="cpu")
    assert_pupils_survive(refiner, *eyes)
    images = render_eyes(PEOPLE, range(300), seed=73).images
    real = photographed(render_eyes(target_parameters(), range(300), seed=74).images)
    spread = [float(batch.std(dim=(1, 2, 3)).mean()) for batch in (images, refiner(images), real)]
    assert abs(spread[1] - spread[2]) < 0.5 * abs(spread[0] - spread[2])
