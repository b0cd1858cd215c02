"""Fixtures of the eye tests: eyes with fixed geometry, so that tests can compute what to expect."""

from collections.abc import Callable, Iterator

import pytest
import torch

from refiner.eyes.scene.parameters import (
    ExpressionRanges,
    EyeParameters,
    GazeRanges,
    GeometryRanges,
    HeadRanges,
    LightRanges,
    OpticsRanges,
    PlacementRanges,
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: small pictures gain nothing from more, and on a busy machine threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fixed(value: float) -> tuple[float, float]:
    """A range that leaves no choice."""
    return (value, value)


@pytest.fixture
def looking() -> Callable[..., EyeParameters]:
    """Return parameters of eyes that look in one direction (degrees), placed without error, with known geometry."""

    def parameters(
        *, pitch: float = 0.0, yaw: float = 0.0, head_pitch: float = 7.0, head_yaw: float = 0.0
    ) -> EyeParameters:
        return EyeParameters(
            images_per_person=1,
            geometry=GeometryRanges(
                eyeball_radius_mm=fixed(12.0),
                iris_radius_mm=fixed(5.85),
                eyeball_right_mm=fixed(0.5),
                eyeball_up_mm=fixed(1.5),
                eyeball_depth_mm=fixed(5.0),
                corner_rise_mm=fixed(1.0),
                face_tilt_degrees=fixed(7.0),
            ),
            gaze=GazeRanges(pitch_degrees=fixed(pitch), yaw_degrees=fixed(yaw)),
            head=HeadRanges(pitch_degrees=fixed(head_pitch), yaw_degrees=fixed(head_yaw)),
            expression=ExpressionRanges(upper_change_degrees=fixed(0.0), lower_change_degrees=fixed(0.0)),
            placement=PlacementRanges(
                right_mm=fixed(0.0),
                down_mm=fixed(0.0),
                follow_right=fixed(0.0),
                follow_down=fixed(0.0),
                scale=fixed(1.0),
            ),
            light=LightRanges(highlight=fixed(0.0), screen_highlight=fixed(0.0)),
            optics=OpticsRanges(blur_mm=fixed(0.2)),
        )

    return parameters
