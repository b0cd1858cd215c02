"""Ranges fitted to images whose ranges are known."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.config.yaml_files import read_configuration
from refiner.core.errors import DataError, UsageError
from refiner.eyes.calibration import RANGES, Fit, Patches, calibrate, evenly_spaced, explicitly_set
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters, GazeRanges, PlacementRanges
from refiner.images.arrays import to_uint8

POOL = 600
WIDE = EyeParameters(placement=PlacementRanges(down_mm=(-1.3, 2.4)))


def rendered(parameters: EyeParameters, count: int = 60, size: tuple[int, int] = (36, 60)) -> Patches:
    batch = render_eyes(parameters, range(count), seed=99, size=size)
    return np.stack([to_uint8(planes)[None] for planes in batch.images.numpy()])


@cache
def low_and_left() -> Fit:
    """Fitted to eyes that sit low in the patch and look to the left of the image."""
    placed = PlacementRanges(down_mm=(1.5, 2.3), scale=(1.1, 1.2))
    truth = EyeParameters(images_per_person=1, placement=placed, gaze=GazeRanges(yaw_degrees=(8, 21)))
    return calibrate(rendered(truth), WIDE, pool=POOL)


def middle(bounds: tuple[float, float]) -> float:
    return sum(bounds) / 2


def test_ranges_move_to_those_of_the_images() -> None:
    base, fitted = WIDE, low_and_left().parameters
    assert middle(fitted.placement.down_mm) > middle(base.placement.down_mm) + 0.15
    assert middle(fitted.gaze.yaw_degrees) > middle(base.gaze.yaw_degrees) + 6
    assert fitted.gaze.yaw_degrees[0] > -8
    assert middle(fitted.placement.scale) > middle(base.placement.scale)


def test_ranges_shrink_only() -> None:
    base, fitted = WIDE.model_dump(), low_and_left().parameters.model_dump()
    changed = 0
    for section, fields in base.items():
        if not isinstance(fields, dict):
            assert fitted[section] == fields
            continue
        for name, bounds in fields.items():
            if isinstance(bounds, tuple):
                low, high = fitted[section][name]
                assert bounds[0] - 1e-4 <= low <= high <= bounds[1] + 1e-4, (section, name)
                changed += (low, high) != bounds
    assert changed > 20
    EyeParameters.model_validate(fitted)


def test_images_of_the_whole_ranges_leave_them_nearly_whole() -> None:
    base = EyeParameters(images_per_person=1)
    fitted = calibrate(rendered(base, 150), base, pool=POOL).parameters
    for section, name in (("gaze", "yaw_degrees"), ("placement", "down_mm"), ("head", "yaw_degrees")):
        low, high = getattr(getattr(base, section), name)
        start, end = getattr(getattr(fitted, section), name)
        assert end - start > 0.6 * (high - low), name
        assert abs(start + end - low - high) < 0.3 * (high - low), name


def test_explicitly_set_ranges_stay() -> None:
    base = EyeParameters(gaze=GazeRanges(pitch_degrees=(-20, 5)))
    assert explicitly_set(base) == ["gaze.pitch_degrees"]
    real = rendered(EyeParameters(images_per_person=1), 20)
    fitted = calibrate(real, base, keep=explicitly_set(base), pool=300).parameters
    assert fitted.gaze.pitch_degrees == (-20, 5)
    assert fitted.gaze.yaw_degrees != base.gaze.yaw_degrees
    assert calibrate(real, base, pool=300).parameters.gaze.pitch_degrees != (-20, 5)
    with pytest.raises(UsageError, match="no range to fit"):
        calibrate(real, base, keep=RANGES)


def test_glasses_and_fixed_values_are_not_fitted() -> None:
    base = EyeParameters(gaze=GazeRanges(yaw_degrees=(3, 3)))
    fitted = calibrate(rendered(EyeParameters(images_per_person=1), 20), base, pool=300).parameters
    assert fitted.gaze.yaw_degrees == (3, 3)
    assert fitted.glasses == base.glasses


def test_the_same_images_give_the_same_ranges_at_any_size_or_exposure() -> None:
    large = rendered(EyeParameters(images_per_person=1), 20, size=(72, 120))
    first, again = (calibrate(large, EyeParameters(), pool=300) for _ in range(2))
    assert first == again
    darker = calibrate((large // 2).astype(np.uint8), EyeParameters(), pool=300)  # equalised before it is compared
    assert darker.likeness == pytest.approx(first.likeness, abs=0.02)


def test_few_images_are_refused_and_many_are_thinned_out() -> None:
    with pytest.raises(DataError, match="9 real images are too few to calibrate on; give 10 or more"):
        calibrate(np.zeros((9, 1, 36, 60), np.uint8), EyeParameters())
    assert len(evenly_spaced(17)) == 17
    thinned = evenly_spaced(100_001)
    assert len(thinned) == 2000
    assert (thinned[0], thinned[-1]) == (0, 100_000)


def test_render_calibrates_and_keeps_the_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refiner.eyes.calibration.POOL", 300)
    run = CliRunner().invoke
    arguments = ["--count", "12", "--seed", "4", "--set", "gaze.yaw_degrees=[10, 12]"]
    assert run(main, ["render", str(tmp_path / "real"), *arguments]).exit_code == 0
    result = run(main, ["render", str(tmp_path / "eyes.h5"), "--count", "8", "--calibrate", str(tmp_path / "real")])
    assert result.exit_code == 0, result.output
    assert "calibrated on 12 real images" in result.output
    kept = read_configuration(tmp_path / "eyes.h5.yaml", EyeParameters)
    assert middle(kept.gaze.yaw_degrees) > 3
    given = ["--set", "gaze.yaw_degrees=[-5, 12]", "--calibrate", str(tmp_path / "real")]
    assert run(main, ["render", str(tmp_path / "given"), "--count", "2", *given]).exit_code == 0
    assert read_configuration(tmp_path / "given.yaml", EyeParameters).gaze.yaw_degrees == (-5, 12)
    again = run(
        main, ["render", str(tmp_path / "eyes2.h5"), "--count", "8", "--config", str(tmp_path / "eyes.h5.yaml")]
    )
    assert again.exit_code == 0, again.output
    assert (tmp_path / "eyes2.h5").stat().st_size == (tmp_path / "eyes.h5").stat().st_size
    refused = run(main, ["render", str(tmp_path / "x"), "--target-camera", "--calibrate", str(tmp_path / "real")])
    assert refused.exit_code == 2
    assert "leave out --config, --set, --calibrate" in refused.output
