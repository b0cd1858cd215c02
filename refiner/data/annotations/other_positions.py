"""Values in pixels among the fields of an object or an image that only some formats know, and how they move."""

from collections.abc import Callable, Mapping
from typing import Any

from refiner.data.labels.coordinates import Change

Mover = Callable[[Any, Change], Any]
"""Function that returns a value, as JSON, after its image was changed. Raises ValueError if the value is damaged."""

MOVERS: Mapping[str, Mover] = {}
"""Functions by the name of the field in ``ObjectLabel.extra`` or ``ImageAnnotations.entries``.

Formats with further positions add them here: camera matrices, second boxes and so on.
"""


def move_others(fields: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """Return the fields with those moved that :data:`MOVERS` names; the others are returned as they are."""
    return {key: MOVERS[key](value, change) if key in MOVERS else value for key, value in fields.items()}
