"""Contact sheets of data sets: enlarged images with their labels, such as boxes, masks, points, and gaze."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import cv2
import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.registry import Dataset
from refiner.data.labels.records import Record
from refiner.images.arrays import highest_level
from refiner.images.io import Image
from refiner.inspection.datasets import spread
from refiner.inspection.labels import as_numbers
from refiner.inspection.overlays.datasets import DatasetOverlays
from refiner.inspection.overlays.label_shapes import classes_of, label_shapes
from refiner.inspection.overlays.paint import Canvas, draw_shapes
from refiner.inspection.overlays.shapes import Shape

COLUMNS, ROWS = 6, 5
"""Largest number of images in a row, and of rows."""

CELL = 240
"""Width of an enlarged image, in pixels of the sheet."""

GAP = 4
"""White pixels between two cells."""

_CAPTION = 18  # height of the caption below each image, in pixels


def draw_sheet(dataset: Dataset, *, count: int = COLUMNS * ROWS) -> Image:
    """Draw a contact sheet of images that are spread evenly over a data set.

    The red arrow shows the gaze, projected on the image plane. It starts at the pupil, else at the centre of the iris
    outline, else at the centre of the image. All 16-bit images share one scale, in which the highest level on the
    sheet is white.

    Args:
        dataset: a data set from :func:`refiner.data.formats.registry.open_dataset`.
        count: largest number of images.

    Returns:
        uint8, (H, W, 3), RGB.

    Raises:
        DataError: none of the images can be read.
    """
    # Read the images, without labels if the label table is damaged.
    records = []
    for sample in spread(dataset.ids, count):
        try:
            records.append(dataset.read(sample))
        except ImageError:
            continue
        except DataError:
            records.append(Record(sample, dataset.read_image(sample)))
    if not records:
        raise DataError(f"{dataset.root}: none of the images chosen for the sheet can be read")
    # Draw a cell for each image.
    highest = [float(record.image.max()) for record in records if record.image.dtype == np.uint16]
    overlays = DatasetOverlays(dataset, (name for record in records for name in classes_of(record.labels)))
    white = max(highest, default=0.0)
    cells = [draw_record(record, white=white, shapes=overlays.shapes(record)) for record in records]
    return _tile(cells)


def draw_sheets(datasets: Sequence[Dataset]) -> Image:
    """Draw the contact sheets of data sets below one another; see :func:`draw_sheet`."""
    sheets = [draw_sheet(dataset) for dataset in datasets]
    if len(sheets) == 1:
        return sheets[0]
    # Pad the sheets to the full width, so that they can be stacked.
    missing = [COLUMNS * (CELL + GAP) - sheet.shape[1] for sheet in sheets]
    return np.concatenate(
        [
            np.pad(sheet, ((0, 0), (0, columns), (0, 0)), constant_values=255)
            for sheet, columns in zip(sheets, missing, strict=True)
        ]
    )


def draw_record(record: Record, *, white: float = 0.0, shapes: Sequence[Shape] | None = None) -> Canvas:
    """Draw one image in the width of a cell, with its labels, and a caption below.

    Args:
        record: the image and its labels.
        white: level of a 16-bit image that is drawn white; 0 takes the highest level of the type.
        shapes: what is drawn over it; None draws its labels.

    Returns:
        uint8, (H, :data:`CELL`, 3), RGB.
    """
    image = record.image
    height, width = image.shape[:2]
    scale = CELL / width
    # Small images are enlarged without smoothing, so that single pixels can be seen.
    canvas: Canvas = np.ascontiguousarray(
        cv2.resize(
            _to_rgb(image, white),
            (CELL, max(1, min(2 * CELL, round(height * scale)))),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST,
        ),
        np.uint8,
    )
    drawn = label_shapes(record.labels, (height, width)) if shapes is None else shapes
    draw_shapes(canvas, drawn, (height, width))
    return np.concatenate([canvas, _caption(record)])


def _to_rgb(image: Image, white: float) -> Canvas:
    """Convert to 8-bit RGB without alpha."""
    if image.dtype == np.uint16:
        image = np.clip(image * (255 / (white or highest_level(image))), 0, 255).astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else np.ascontiguousarray(image[..., :3])


def _caption(record: Record) -> Canvas:
    """Draw the name and the gaze in degrees."""
    strip = np.full((_CAPTION, CELL, 3), 255, np.uint8)
    gaze = as_numbers(record.labels.get("gaze"))
    angles = "" if gaze is None or gaze.shape != (2,) else "  p {:+.0f} y {:+.0f}".format(*np.degrees(gaze))
    room = 38 - len(angles)
    name = record.id if len(record.id) <= room else PurePosixPath(record.id).name[-room:]
    text = (name + angles).encode("ascii", "replace").decode()
    cv2.putText(strip, text, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def _tile(cells: Sequence[Canvas]) -> Canvas:
    """Put cells of one width in rows; a row is as high as its highest cell."""
    columns = min(COLUMNS, len(cells))
    rows = []
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        strip = np.full((max(len(cell) for cell in row) + GAP, columns * (CELL + GAP), 3), 255, np.uint8)
        for number, cell in enumerate(row):
            left = number * (CELL + GAP)
            strip[: len(cell), left : left + CELL] = cell
        rows.append(strip)
    return np.concatenate(rows)
