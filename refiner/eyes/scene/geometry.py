"""Geometry of an eye: eyeball, lid margins, crease, brow and landmarks, in millimetres of the camera's axes.

Axes: x right, y down, z away from the camera. The origin is midway between the two lid corners. The camera is that of
MPIIGaze's normalisation: 960 px focal length at 600 mm, hence 0.625 mm for each pixel of a patch 60 pixels wide. An eye
is only 30 mm wide, so depth changes the scale by 1 to 2 percent. The projection is therefore taken as parallel: x and y
in millimetres are the image coordinates. Letters in shapes: N images, K points of a curve.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from refiner.eyes.scene.sampling import Draws

CURVE_POINTS = 33
"""Points of a curve, K."""
UPPER_MARK = 0.13
"""Share of the lid's width at which the landmarks begin: the caruncle's outer edge, as in UnityEyes."""


@dataclass(frozen=True)
class EyeGeometry:
    """Points, curves and directions of N eyes: points in millimetres, directions as unit vectors."""

    gaze: Tensor
    """(N, 2) pitch and yaw of the optical axis, radians."""
    head_pose: Tensor
    """(N, 2) pitch and yaw of the head, radians."""
    gaze_direction: Tensor
    """(N, 3) direction of the optical axis."""
    eyeball_centre: Tensor
    """(N, 3) centre of the sclera's sphere."""
    iris_centre: Tensor
    """(N, 3) centre of the limbus circle and of the pupil."""
    iris_axes: Tensor
    """(N, 2, 3) directions right and down in the plane of the iris."""
    upper_lid: Tensor
    """(N, K, 3) margin of the upper lid; all curves run from the inner to the outer corner."""
    lower_lid: Tensor
    """(N, K, 3) margin of the lower lid."""
    crease: Tensor
    """(N, K, 3) fold of the upper lid."""
    furrow: Tensor
    """(N, K, 3) lower edge of the eye bag."""
    brow: Tensor
    """(N, K, 3) middle line of the brow."""
    head_axes: Tensor
    """(N, 3, 3) rows are right, down and back of the head without ``face_tilt_degrees``, in camera axes."""
    upper_lid_elevation: Tensor
    """(N,) elevation of the upper margin as seen from the eyeball's centre, in camera axes, radians."""


def direction(angles: Tensor) -> Tensor:
    """Return the unit vectors (N, 3) in which eyes or faces with (pitch, yaw) angles (N, 2) point."""
    pitch, yaw = angles.unbind(1)
    return torch.stack(
        [-torch.cos(pitch) * torch.sin(yaw), -torch.sin(pitch), -torch.cos(pitch) * torch.cos(yaw)], dim=1
    )


def head_axes(head_pose: Tensor) -> Tensor:
    """Return the axes of heads without roll, in camera axes.

    MPIIGaze's head angles describe the third column v of the head's rotation: pitch = asin(v_y), yaw = atan2(v_x, v_z).
    v points out of the back of the head and is (0, 0, 1) for a head that faces the camera. The face points along -v.
    Positive pitch therefore lifts the face, and positive yaw turns it to the image's left, as for gaze.

    Args:
        head_pose: (N, 2) pitch and yaw, radians.

    Returns:
        (N, 3, 3); the rows are right, down and back of the head.
    """
    pitch, yaw = head_pose.unbind(1)
    sin_p, cos_p, sin_y, cos_y = torch.sin(pitch), torch.cos(pitch), torch.sin(yaw), torch.cos(yaw)
    right = torch.stack([cos_y, torch.zeros_like(yaw), -sin_y], dim=1)
    down = torch.stack([-sin_p * sin_y, cos_p, -sin_p * cos_y], dim=1)
    back = torch.stack([cos_p * sin_y, sin_p, cos_p * cos_y], dim=1)
    return torch.stack([right, down, back], dim=1)


def to_camera(points: Tensor, axes: Tensor) -> Tensor:
    """Convert points (N, K, 3) from head axes to camera axes, with ``axes`` (N, 3, 3) from :func:`head_axes`."""
    # Written out, because a batched matrix product may round differently at different batch sizes.
    x, y, z = points[..., 0:1], points[..., 1:2], points[..., 2:3]
    return x * axes[:, None, 0] + y * axes[:, None, 1] + z * axes[:, None, 2]


def place_eyes(draws: Draws) -> EyeGeometry:
    """Return the geometry of all images, from their drawn values."""
    # Directions of gaze and head.
    gaze = torch.deg2rad(torch.stack([draws["gaze.pitch_degrees"], draws["gaze.yaw_degrees"]], dim=1))
    head_pose = torch.deg2rad(torch.stack([draws["head.pitch_degrees"], draws["head.yaw_degrees"]], dim=1))
    tilt = torch.deg2rad(draws["geometry.face_tilt_degrees"])
    axes = head_axes(head_pose - torch.stack([tilt, torch.zeros_like(tilt)], dim=1))
    g = direction(gaze)

    # Eyeball and iris.
    radius, iris_radius = draws["geometry.eyeball_radius_mm"], draws["geometry.iris_radius_mm"]
    centre_in_head = torch.stack(
        [draws["geometry.eyeball_right_mm"], -draws["geometry.eyeball_up_mm"], draws["geometry.eyeball_depth_mm"]],
        dim=1,
    )
    centre = to_camera(centre_in_head[:, None], axes)[:, 0]
    iris_centre = centre + torch.sqrt(radius**2 - iris_radius**2)[:, None] * g

    # Lids follow the vertical rotation of the eye inside the head.
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
    """Return an arc (N, K) over t in [-1, 1] (K,) that is 0 at the ends and 1 at ``peak`` (N,)."""
    warped = t[None] - peak[:, None] * (1 - t[None] ** 2) / (1 - peak[:, None] ** 2)
    arc = (1 - warped.clamp(-1, 1) ** 2) ** exponent[:, None]
    along = (t[None] + 1) / 2
    # The inner corner narrows to a slit around the caruncle.
    return arc * along / (along + 0.035) * 1.035


def _curves_in_head(draws: Draws, centre: Tensor, upper: Tensor, lower: Tensor) -> dict[str, Tensor]:
    """Return the curves (N, K, 3) in head axes, from the inner to the outer corner."""
    t = -torch.cos(torch.linspace(0, math.pi, CURVE_POINTS))  # dense at the corners, where the arcs are steep
    half = draws["geometry.corner_distance_mm"][:, None] / 2
    rise, recess = draws["geometry.corner_rise_mm"][:, None] / 2, draws["geometry.corner_depth_mm"][:, None] / 2
    x, line_y, line_z = half * t, -rise * t, recess * t
    depth_arc = torch.sqrt(1 - t**2)[None]
    radius = draws["geometry.eyeball_radius_mm"] + 0.7  # the cornea bulges, and the lids rest on it
    apex = {
        lid: (centre[:, 1] - radius * torch.sin(angle), centre[:, 2] - radius * torch.cos(angle))
        for lid, angle in (("upper", upper), ("lower", lower))
    }

    def arc(lid: str, offset: Tensor) -> Tensor:
        profile = _profile(t, draws[f"lids.{lid}_peak"], draws[f"lids.{lid}_exponent"])
        y = line_y + (apex[lid][0] + offset)[:, None] * profile
        return torch.stack([x, y, line_z + apex[lid][1][:, None] * depth_arc], dim=2)

    upper_lid, lower_lid = arc("upper", torch.zeros_like(upper)), arc("lower", torch.zeros_like(lower))
    # The lids meet exactly at both ends. If the arcs would cross in between, the eye is shut there.
    lower_lid[:, :, 1] = torch.maximum(lower_lid[:, :, 1], upper_lid[:, :, 1])
    # Skin unrolls below the crease when the lid closes, so the crease moves down half as far as the lid.
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
    """Return 32 points (N, 32, 3) on the limbus, clockwise from the left, in UnityEyes' order."""
    angle = torch.arange(32) * (2 * math.pi / 32)
    right, down = geometry.iris_axes[:, None, 0], geometry.iris_axes[:, None, 1]
    around = -torch.cos(angle)[None, :, None] * right - torch.sin(angle)[None, :, None] * down
    return geometry.iris_centre[:, None] + radius[:, None, None] * around


def lid_outline(geometry: EyeGeometry) -> Tensor:
    """Return 16 points (N, 16, 3) of the lid margins, in UnityEyes' order.

    Point 0 is the inner corner, next to the caruncle. Points 1 to 7 are on the upper lid, 8 is the outer corner, and 9
    to 15 run back along the lower lid: clockwise in the image, from the left.
    """
    along = UPPER_MARK + (1 - UPPER_MARK) * torch.arange(9) / 8
    upper, lower = points_along(geometry.upper_lid, along), points_along(geometry.lower_lid, along)
    inner = (upper[:, :1] + lower[:, :1]) / 2
    return torch.cat([inner, upper[:, 1:], lower[:, 1:8].flip(1)], dim=1)


def caruncle(geometry: EyeGeometry) -> Tensor:
    """Return 7 points (N, 7, 3) around the caruncle, clockwise from its outer lower edge."""
    along = torch.tensor([0.12, 0.12, 0.08, 0.04, 0.0, 0.04, 0.08])
    down = torch.tensor([0.8, 0.2, 0.1, 0.1, 0.5, 0.9, 0.9])[None, :, None]
    upper, lower = points_along(geometry.upper_lid, along), points_along(geometry.lower_lid, along)
    return upper + (lower - upper) * down


def points_along(curve: Tensor, along: Tensor) -> Tensor:
    """Return the points (N, M, 3) at shares ``along`` (M,) of the width between the corners, 0 inner to 1 outer."""
    position = torch.acos((1 - 2 * along).clamp(-1, 1)) / math.pi * (CURVE_POINTS - 1)
    low = position.floor().long().clamp(0, CURVE_POINTS - 2)
    weight = (position - low)[None, :, None]
    return curve[:, low] * (1 - weight) + curve[:, low + 1] * weight
