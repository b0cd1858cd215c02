"""Where everything of an eye is: eyeball, lid margins, crease, brow and landmarks, in millimetres of the camera's axes.

Axes: x right, y down, z away from the camera; origin in the middle of the two lid corners. The camera is MPIIGaze's
normalised one (960 px at 600 mm, so 0.625 mm a pixel of a 60 wide patch); an eye is 30 mm wide, so depth changes the
scale by 1 or 2 percent only and the projection is taken as parallel: x and y in millimetres are the picture.
Letters: N images, K points of a curve.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from refiner.eyes.scene.sampling import Draws

CURVE_POINTS = 33
UPPER_MARK, LOWER_MARK = 0.13, 0.13
"""Where along the lid the margin's landmarks begin: at the caruncle's outer edge, as in UnityEyes."""


@dataclass(frozen=True)
class EyeGeometry:
    """Points are (N, K, 3), or (N, 3) where there is one; directions unit vectors; millimetres."""

    gaze: Tensor
    """(N, 2) pitch and yaw of the optical axis, radians."""
    head_pose: Tensor
    """(N, 2) pitch and yaw of the head, radians."""
    gaze_direction: Tensor
    """(N, 3)."""
    eyeball_centre: Tensor
    """(N, 3)."""
    iris_centre: Tensor
    """(N, 3): centre of the limbus circle and of the pupil."""
    iris_axes: Tensor
    """(N, 2, 3): directions right and down in the plane of the iris."""
    upper_lid: Tensor
    """(N, K, 3), inner to outer corner, like all curves."""
    lower_lid: Tensor
    crease: Tensor
    furrow: Tensor
    """Lower edge of the eye bag."""
    brow: Tensor
    head_axes: Tensor
    """(N, 3, 3): rows are right, down and back of the head without ``face_tilt_degrees``, in camera axes."""
    upper_lid_elevation: Tensor
    """(N,) radians: direction of the upper margin from the eyeball's centre, in camera axes."""


def direction(angles: Tensor) -> Tensor:
    """Unit vectors (N, 3) of (pitch, yaw) angles (N, 2): where the eye, or the face, points."""
    pitch, yaw = angles.unbind(1)
    return torch.stack(
        [-torch.cos(pitch) * torch.sin(yaw), -torch.sin(pitch), -torch.cos(pitch) * torch.cos(yaw)], dim=1
    )


def head_axes(head_pose: Tensor) -> Tensor:
    """Axes of the head in camera axes, without roll.

    MPIIGaze's head angles describe the third column v of the head's rotation: pitch = asin(v_y),
    yaw = atan2(v_x, v_z). v points out of the back of the head and is (0, 0, 1) for a head that faces the camera, so
    the face points along -v: positive pitch lifts the face, positive yaw turns it (and the nose) to the image's left,
    as for gaze.

    Returns:
        (N, 3, 3): rows right, down and back of the head.
    """
    pitch, yaw = head_pose.unbind(1)
    sin_p, cos_p, sin_y, cos_y = torch.sin(pitch), torch.cos(pitch), torch.sin(yaw), torch.cos(yaw)
    right = torch.stack([cos_y, torch.zeros_like(yaw), -sin_y], dim=1)
    down = torch.stack([-sin_p * sin_y, cos_p, -sin_p * cos_y], dim=1)
    back = torch.stack([cos_p * sin_y, sin_p, cos_p * cos_y], dim=1)
    return torch.stack([right, down, back], dim=1)


def to_camera(points: Tensor, axes: Tensor) -> Tensor:
    """Points (N, K, 3) from head axes to camera axes; ``axes`` from :func:`head_axes`."""
    # Spelt out: a batched matrix product may round differently with the size of the batch.
    x, y, z = points[..., 0:1], points[..., 1:2], points[..., 2:3]
    return x * axes[:, None, 0] + y * axes[:, None, 1] + z * axes[:, None, 2]


def place_eyes(draws: Draws) -> EyeGeometry:
    """Geometry of all images from their drawn values."""
    gaze = torch.deg2rad(torch.stack([draws["gaze.pitch_degrees"], draws["gaze.yaw_degrees"]], dim=1))
    head_pose = torch.deg2rad(torch.stack([draws["head.pitch_degrees"], draws["head.yaw_degrees"]], dim=1))
    tilt = torch.deg2rad(draws["geometry.face_tilt_degrees"])
    axes = head_axes(head_pose - torch.stack([tilt, torch.zeros_like(tilt)], dim=1))
    g = direction(gaze)
    radius, iris_radius = draws["geometry.eyeball_radius_mm"], draws["geometry.iris_radius_mm"]
    centre_in_head = torch.stack(
        [draws["geometry.eyeball_right_mm"], -draws["geometry.eyeball_up_mm"], draws["geometry.eyeball_depth_mm"]],
        dim=1,
    )
    centre = to_camera(centre_in_head[:, None], axes)[:, 0]
    iris_centre = centre + torch.sqrt(radius**2 - iris_radius**2)[:, None] * g
    # How far the eye is turned up inside the head: what the lids follow.
    eye_in_head = torch.asin((-g * axes[:, 1]).sum(1).clamp(-1, 1))
    upper = _lid_elevation(draws, "upper", eye_in_head)
    lower = torch.minimum(_lid_elevation(draws, "lower", eye_in_head), upper - math.radians(3))
    curves = {
        name: to_camera(curve, axes) for name, curve in _curves_in_head(draws, centre_in_head, upper, lower).items()
    }
    return EyeGeometry(
        gaze=gaze,
        head_pose=head_pose,
        gaze_direction=g,
        eyeball_centre=centre,
        iris_centre=iris_centre,
        iris_axes=_iris_axes(g),
        head_axes=axes,
        upper_lid_elevation=upper + head_pose[:, 0] - tilt,
        **curves,
    )


def _iris_axes(g: Tensor) -> Tensor:
    right = torch.stack([-g[:, 2], torch.zeros_like(g[:, 0]), g[:, 0]], dim=1)
    right = right / torch.sqrt((right * right).sum(1, keepdim=True))
    down = torch.linalg.cross(right, g)
    return torch.stack([right, down], dim=1)


def _lid_elevation(draws: Draws, lid: str, eye_in_head: Tensor) -> Tensor:
    rest = torch.deg2rad(draws[f"lids.{lid}_elevation_degrees"] + draws[f"expression.{lid}_change_degrees"])
    return rest + draws[f"lids.{lid}_follow"] * eye_in_head


def _profile(t: Tensor, peak: Tensor, exponent: Tensor) -> Tensor:
    """Arc over t in [-1, 1] (K,) that is 0 at the ends and 1 at ``peak`` (N,), as (N, K)."""
    warped = t[None] - peak[:, None] * (1 - t[None] ** 2) / (1 - peak[:, None] ** 2)
    arc = (1 - warped.clamp(-1, 1) ** 2) ** exponent[:, None]
    along = (t[None] + 1) / 2
    # The inner corner is drawn out into a narrow slit round the caruncle.
    return arc * along / (along + 0.035) * 1.035


def _curves_in_head(draws: Draws, centre: Tensor, upper: Tensor, lower: Tensor) -> dict[str, Tensor]:
    """Curves (N, K, 3) in head axes, inner to outer."""
    t = -torch.cos(torch.linspace(0, math.pi, CURVE_POINTS))  # dense at the corners, where arcs are steep
    half = draws["geometry.corner_distance_mm"][:, None] / 2
    rise, recess = draws["geometry.corner_rise_mm"][:, None] / 2, draws["geometry.corner_depth_mm"][:, None] / 2
    x, line_y, line_z = half * t, -rise * t, recess * t
    depth_arc = torch.sqrt(1 - t**2)[None]
    radius = draws["geometry.eyeball_radius_mm"] + 0.7  # the cornea bulges, and the lids lie on it
    apex = {
        lid: (centre[:, 1] - radius * torch.sin(angle), centre[:, 2] - radius * torch.cos(angle))
        for lid, angle in (("upper", upper), ("lower", lower))
    }

    def arc(lid: str, offset: Tensor) -> Tensor:
        profile = _profile(t, draws[f"lids.{lid}_peak"], draws[f"lids.{lid}_exponent"])
        y = line_y + (apex[lid][0] + offset)[:, None] * profile
        return torch.stack([x, y, line_z + apex[lid][1][:, None] * depth_arc], dim=2)

    upper_lid, lower_lid = arc("upper", torch.zeros_like(upper)), arc("lower", torch.zeros_like(lower))
    # The lids' two ends meet exactly; where arcs would cross, the eye is shut there.
    lower_lid[:, :, 1] = torch.maximum(lower_lid[:, :, 1], upper_lid[:, :, 1])
    # A lid that comes down unrolls skin below the crease: the crease itself comes down half as far.
    rest = torch.deg2rad(draws["lids.upper_elevation_degrees"])
    unrolled = radius * (torch.sin(rest) - torch.sin(upper)).clamp(min=0) * 0.5
    crease = arc("upper", -draws["lids.crease_distance_mm"] - unrolled)
    crease[:, :, 1] -= 0.5 * draws["lids.crease_distance_mm"][:, None]
    crease[:, :, 0] = crease[:, :, 0] * 1.2
    furrow = arc("lower", 0.75 * draws["lids.bag_distance_mm"])
    furrow[:, :, 1] += 0.25 * draws["lids.bag_distance_mm"][:, None]
    furrow[:, :, 0] = furrow[:, :, 0] * 1.05 - 0.5
    return {
        "upper_lid": upper_lid, "lower_lid": lower_lid, "crease": crease, "furrow": furrow, "brow": _brow(draws, t),
    }  # fmt: skip


def _brow(draws: Draws, t: Tensor) -> Tensor:
    x = (19.0 * t + 2.0)[None].expand(len(draws["hair.brow_height_mm"]), -1)
    arch = draws["hair.brow_arch_mm"][:, None] * (1 - ((t - 0.35) / 1.35) ** 2)[None]
    y = -draws["hair.brow_height_mm"][:, None] - arch + 1.0
    ridge = draws["skin.brow_ridge_mm"][:, None]
    z = -ridge * (1 - 0.5 * ((t + 1) / 2) ** 2)[None]
    return torch.stack([x, y, z], dim=2)


def iris_outline(geometry: EyeGeometry, radius: Tensor) -> Tensor:
    """32 points (N, 32, 3) on the limbus, from the left over the top, in UnityEyes' order."""
    angle = torch.arange(32) * (2 * math.pi / 32)
    right, down = geometry.iris_axes[:, None, 0], geometry.iris_axes[:, None, 1]
    around = -torch.cos(angle)[None, :, None] * right - torch.sin(angle)[None, :, None] * down
    return geometry.iris_centre[:, None] + radius[:, None, None] * around


def lid_outline(geometry: EyeGeometry) -> Tensor:
    """16 points (N, 16, 3) of the lid margins, in UnityEyes' order.

    0 at the inner corner (beside the caruncle), 1 to 7 along the upper lid, 8 the outer corner, 9 to 15 back along the
    lower lid: clockwise in the picture, from the left.
    """
    along = UPPER_MARK + (1 - UPPER_MARK) * torch.arange(9) / 8
    upper, lower = points_along(geometry.upper_lid, along), points_along(geometry.lower_lid, along)
    inner = (upper[:, :1] + lower[:, :1]) / 2
    return torch.cat([inner, upper[:, 1:], lower[:, 1:8].flip(1)], dim=1)


def caruncle(geometry: EyeGeometry) -> Tensor:
    """7 points (N, 7, 3) round the pink corner between the lids, clockwise from its outer lower edge."""
    along = torch.tensor([0.12, 0.12, 0.08, 0.04, 0.0, 0.04, 0.08])
    down = torch.tensor([0.8, 0.2, 0.1, 0.1, 0.5, 0.9, 0.9])[None, :, None]
    upper, lower = points_along(geometry.upper_lid, along), points_along(geometry.lower_lid, along)
    return upper + (lower - upper) * down


def points_along(curve: Tensor, along: Tensor) -> Tensor:
    """Points (N, M, 3) at shares ``along`` (M,) of the width between the corners, 0 inner to 1 outer."""
    position = torch.acos((1 - 2 * along).clamp(-1, 1)) / math.pi * (CURVE_POINTS - 1)
    low = position.floor().long().clamp(0, CURVE_POINTS - 2)
    weight = (position - low)[None, :, None]
    return curve[:, low] * (1 - weight) + curve[:, low + 1] * weight
