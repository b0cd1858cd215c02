"""Label images keep their numbers, palettes and types under a crop and a resize."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from refiner.core.errors import ImageError
from refiner.data.labels.coordinates import Change
from refiner.data.output.label_image_moves import move_label_image
from refiner.images.io import read_image, write_image

CHANGE = Change((24, 36), (3, 3), (18, 30), (6, 10))
ROWS, COLUMNS = np.arange(6) * 3 + 4, np.arange(10) * 3 + 4  # the middle of three


def numbers(dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 200, (24, 36)).astype(dtype)


def moved(path: Path) -> Pillow.Image:
    return Pillow.open(io.BytesIO(move_label_image(path.parent, path.name, CHANGE)))


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_stays(tmp_path: Path, transparent: bool) -> None:
    palette = np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes()
    picture = Pillow.fromarray(numbers())
    picture.putpalette(palette)
    picture.save(tmp_path / "a.png", **({"transparency": 0} if transparent else {}))
    after = moved(tmp_path / "a.png")
    assert after.mode == "P"
    assert np.array_equal(np.asarray(after), numbers()[np.ix_(ROWS, COLUMNS)])
    assert after.getpalette("RGB")[: 3 * 200] == list(palette[: 3 * 200])
    assert ("transparency" in after.info) == transparent


def test_bits_and_floats_stay(tmp_path: Path) -> None:
    bits = numbers() > 90
    Pillow.fromarray(bits).save(tmp_path / "a.png")
    after = moved(tmp_path / "a.png")
    assert after.mode == "1"
    assert np.array_equal(np.asarray(after), bits[np.ix_(ROWS, COLUMNS)])
    depths = numbers(np.float32) / 7
    Pillow.fromarray(depths).save(tmp_path / "b.tiff")
    after = moved(tmp_path / "b.tiff")
    assert after.mode == "F"
    assert np.array_equal(np.asarray(after), depths[np.ix_(ROWS, COLUMNS)])


@pytest.mark.parametrize("channels", [0, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_many_values_and_colours_stay(tmp_path: Path, dtype: Any, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 60000, (24, 36, channels or 1)).astype(dtype)
    values = values if channels else values[..., 0]
    write_image(tmp_path / "a.png", values)
    (tmp_path / "b.png").write_bytes(move_label_image(tmp_path, "a.png", CHANGE))
    assert np.array_equal(read_image(tmp_path / "b.png"), values[np.ix_(ROWS, COLUMNS)])


def test_what_cannot_follow_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "mask.jpg", numbers())
    with pytest.raises(ImageError, match="has a lossy type"):
        move_label_image(tmp_path, "mask.jpg", CHANGE)
    write_image(tmp_path / "small.png", numbers()[1:])
    with pytest.raises(ImageError, match="has another size than its image"):
        move_label_image(tmp_path, "small.png", CHANGE)
    write_image(tmp_path / "forward_flow_1.png", numbers())
    with pytest.raises(ImageError, match="holds distances in pixels"):
        move_label_image(tmp_path, "forward_flow_1.png", CHANGE)
    crop = Change((24, 36), (3, 3), (18, 30), (18, 30))
    assert move_label_image(tmp_path, "forward_flow_1.png", crop)
    (tmp_path / "broken.png").write_bytes((tmp_path / "small.png").read_bytes()[:60])
    with pytest.raises(ImageError):
        move_label_image(tmp_path, "broken.png", CHANGE)
