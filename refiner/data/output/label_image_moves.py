"""Label images after a crop and a resize: every value of the result is one of the original, and palettes stay."""

import io
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from refiner.core.errors import ImageError
from refiner.data.annotations.mask_images import open_as_stored
from refiner.data.labels.coordinates import Change
from refiner.data.labels.picture_names import holds_distances_in_pixels
from refiner.images.io import LOSSLESS, LOSSLESS_SUFFIXES, encode_image, is_image_file, read_image


def move_label_image(root: Path, name: str, change: Change) -> bytes:
    """Return the file of a label image after a crop and a resize by the nearest pixel.

    Args:
        root: the data set.
        name: path of the label image below it.
        change: the crop and the resize of its image.

    Raises:
        ImageError: the values cannot be kept, they are distances in pixels, or the label image has another size than
            its image.
    """
    path = root / name
    if not is_image_file(path):
        raise ImageError(path, f"is a {path.suffix} file, which is not read, and --crop or --size changes the images")
    if path.suffix.lower() not in LOSSLESS_SUFFIXES:
        raise ImageError(path, "has a lossy type, and --crop or --size would change its values")
    if change.crop != change.result and holds_distances_in_pixels(name):
        raise ImageError(path, "holds distances in pixels by its name, and --size would change these")
    stored = open_as_stored(path)
    values = read_image(path) if stored is None else np.asarray(stored)
    if values.shape[:2] != change.size:
        raise ImageError(path, "has another size than its image, and --crop or --size changes the images")
    moved = np.ascontiguousarray(change.sample(values))
    if stored is None:
        return encode_image(path, moved, quality=LOSSLESS)
    # Store the numbers with the palette that they came with.
    picture = Pillow.fromarray(moved)
    if stored.mode == "P":
        picture.putpalette(stored.palette.getdata()[1], stored.palette.mode)  # type: ignore[union-attr]
    buffer = io.BytesIO()
    known = {key: stored.info[key] for key in ("transparency",) if key in stored.info}
    picture.save(buffer, format=stored.format, **known)
    return buffer.getvalue()
