"""The smallest box around an object without one."""

import numpy as np

from refiner.data.annotations.positions.run_lengths import decode
from refiner.data.labels.objects import Box, ObjectLabel


def bounds_of(each: ObjectLabel) -> Box | None:
    """Return the smallest box around the outlines, the mask or the labelled keypoints of an object.

    Outlines come before a mask, and a mask before keypoints. The box is None if there is no such point.

    Raises:
        ValueError: its mask is damaged.
    """
    if each.polygons:
        points = np.concatenate([np.array(outline, np.float64).reshape(-1, 2) for outline in each.polygons])
    elif each.mask is not None:
        rows, columns = np.nonzero(decode(each.mask))
        points = np.array([columns, rows], np.float64).T
        points = np.concatenate([points, points + 1])
    else:
        labelled = np.array(each.keypoints, np.float64).reshape(-1, 3)
        points = labelled[labelled[:, 2] > 0, :2] + 0.5  # from the centres of pixels to the corner of the image
    if not len(points):
        return None
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return (left, top, right - left, bottom - top)
