"""Geometry of the eyes, checked by arithmetic that the renderer does not share."""

import math

import numpy as np
import pytest
import torch

from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.geometry import direction, head_axes
from refiner.eyes.scene.parameters import EyeParameters

PIXEL_MM = 37.5 / 60
LIMBUS_DEPTH_MM = math.sqrt(12.0**2 - 5.85**2)
"""The iris lies this far before the eyeball's centre: 10.5 mm, and 12 mm at the sphere's surface."""


def _view(parameters: EyeParameters, size=(36, 60)):
    return render_eyes(parameters, [0], seed=1, size=size)


def test_eye_that_looks_at_the_camera_has_its_pupil_before_the_eyeball(looking):
    batch = _view(looking(pitch=0.0, yaw=0.0))
    # The eyeball's centre is 0.5 mm right of and 1.5 mm above the middle of the corners, itself the picture's centre.
    assert batch.pupil[0].tolist() == pytest.approx([29.5 + 0.5 / PIXEL_MM, 17.5 - 1.5 / PIXEL_MM], abs=1e-3)
    assert batch.gaze[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("pitch", "yaw"), [(0.0, 15.0), (0.0, -15.0), (10.0, 0.0), (-12.0, 0.0), (-8.0, 12.0)])
def test_pupil_moves_by_the_sine_of_the_gaze(looking, pitch, yaw):
    straight, turned = _view(looking()), _view(looking(pitch=pitch, yaw=yaw))
    p, q = math.radians(pitch), math.radians(yaw)
    # Image left (smaller x) for positive yaw, up (smaller y) for positive pitch.
    expected = [-LIMBUS_DEPTH_MM * math.cos(p) * math.sin(q) / PIXEL_MM, -LIMBUS_DEPTH_MM * math.sin(p) / PIXEL_MM]
    assert (turned.pupil - straight.pupil)[0].tolist() == pytest.approx(expected, abs=0.01)
    assert turned.gaze[0].tolist() == pytest.approx([p, q], abs=1e-6)


def test_iris_outline_is_a_circle_of_the_iris_radius_in_its_own_plane(looking):
    batch = _view(looking(pitch=-10.0, yaw=18.0))
    offset = ((batch.iris_outline - batch.pupil[:, None])[0] * PIXEL_MM).numpy()
    gaze = direction(batch.gaze)[0].numpy()
    # Depth of a point in the plane of the iris: the offset stands upright on the gaze.
    depth = -(offset @ gaze[:2]) / gaze[2]
    assert np.hypot(np.hypot(offset[:, 0], offset[:, 1]), depth) == pytest.approx(np.full(32, 5.85), abs=1e-3)
    left, top, right, bottom = offset[0], offset[8], offset[16], offset[24]
    assert left[0] < -5
    assert right[0] > 5
    assert top[1] < -5
    assert bottom[1] > 5


def test_lid_outline_runs_as_in_unityeyes():
    batch = render_eyes(EyeParameters(images_per_person=1), range(50), seed=3)
    lids = batch.lid_outline
    assert (lids[:, 8, 0] == lids[..., 0].max(dim=1).values).float().mean() > 0.9  # outer corner at the right
    assert (lids[:, 0, 0] <= lids[..., 0].min(dim=1).values + 0.5).float().mean() > 0.9
    upper, lower = lids[:, 1:8, 1], lids[:, 9:, 1].flip(1)
    assert (upper <= lower + 1e-4).all()
    assert (upper[:, 3] < lower[:, 3] - 1).float().mean() > 0.95
    assert (batch.caruncle[..., 0].mean(1) < lids[:, 0, 0]).all()  # the caruncle lies inwards


def test_head_axes_follow_mpiigaze():
    pitch, yaw = torch.tensor(0.3), torch.tensor(-0.5)
    axes = head_axes(torch.stack([pitch, yaw])[None])[0]
    assert torch.allclose(axes @ axes.T, torch.eye(3), atol=1e-6)
    assert torch.linalg.det(axes) == pytest.approx(1.0, abs=1e-6)
    # The third column of the head's rotation is the image of the head's own z axis.
    column = axes[2]
    assert torch.asin(column[1]).item() == pytest.approx(0.3, abs=1e-6)
    assert torch.atan2(column[0], column[2]).item() == pytest.approx(-0.5, abs=1e-6)
    assert axes[0, 1] == 0  # no roll: the normalised camera's x axis follows the head's
    assert torch.allclose(head_axes(torch.zeros(1, 2))[0], torch.eye(3))


def test_nose_side_landmark_shows_the_sign_of_the_head_yaw(looking):
    """A face turned to the image's left hides its left (nose) half: the inner corner, nearer the camera, goes left."""
    ahead, left, right = (_view(looking(head_yaw=yaw)).lid_outline[0] for yaw in (0.0, 25.0, -25.0))
    middles = [(outline[0, 0] + outline[8, 0]).item() / 2 for outline in (ahead, left, right)]
    eyeball_right = [_view(looking(head_yaw=yaw)).pupil[0, 0].item() for yaw in (0.0, 25.0, -25.0)]
    # The eyeball lies behind the corners: as the face turns left it swings right, by depth times sine.
    swing = 5.0 * math.sin(math.radians(25)) / PIXEL_MM
    assert eyeball_right[1] - eyeball_right[0] == pytest.approx(swing, abs=0.2)
    assert eyeball_right[2] - eyeball_right[0] == pytest.approx(-swing, abs=0.2)
    # A lid's edge lies before the corners, on the eyeball: it moves the other way.
    assert left[4, 0] - middles[1] < ahead[4, 0] - middles[0] < right[4, 0] - middles[2]


def test_lifted_face_lowers_the_eyeball_behind_the_corners(looking):
    upright, lifted = (_view(looking(head_pitch=pitch)).pupil[0, 1].item() for pitch in (7.0, 22.0))
    turn = math.radians(15)
    expected = (5.0 * math.sin(turn) + 1.5 * (1 - math.cos(turn))) / PIXEL_MM  # down: a larger y
    assert lifted - upright == pytest.approx(expected, abs=0.01)


def test_upper_lid_follows_the_gaze_and_the_lower_lid_less(looking):
    up, down = (_view(looking(pitch=pitch)) for pitch in (8.0, -15.0))
    pupil = (down.pupil - up.pupil)[0, 1]
    upper = (down.lid_outline - up.lid_outline)[0, 4, 1]
    lower = (down.lid_outline - up.lid_outline)[0, 12, 1]
    assert 0.45 * pupil < upper < 1.05 * pupil
    assert 0.0 < lower < 0.5 * pupil
