"""Values in pixels among the fields of an object or an image that only some formats know, and how they move."""

from collections.abc import Callable, Mapping
from typing import Any

from refiner.data.annotations.renderers.camera_positions import (
    forget,
    move_bop_box,
    move_intrinsics,
    move_pixels_of_silhouette,
    move_unity_capture,
    move_visible_share,
)
from refiner.data.labels.coordinates import Change

Mover = Callable[[Any, Change], Any]
"""Function that returns a value, as JSON, after its image was changed. Raises ValueError if the value is damaged."""


def keep_uncropped(value: Any, change: Change) -> Any:
    """Return shares of the image size, which stay the same but for a crop; None after a crop."""
    return None if change.crops else value


MOVERS: Mapping[str, Mover] = {
    "cam_K": move_intrinsics,
    "bbox_obj": move_bop_box,
    "bbox_visib": move_bop_box,
    "px_count_all": move_pixels_of_silhouette,
    "px_count_valid": forget,
    "px_count_visib": forget,
    "visib_fract": move_visible_share,
    "unity_capture": move_unity_capture,
    "yolo_line": keep_uncropped,
}
"""Functions by the name of the field in ``ObjectLabel.extra`` or ``ImageAnnotations.entries``.

Formats with further positions add them here: camera matrices, second boxes and so on.
"""
