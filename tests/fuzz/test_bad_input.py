"""Odd and damaged input: valid samples are converted and refined, the others are named in rejected.csv."""

import csv
import io
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.images.io import LOSSLESS, read_image, write_image
from refiner.inference.jobs.refine import refine_path
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

FUZZ = Path(__file__).parent
ODD = runpy.run_path(str(FUZZ / "images.py"))
ODD_IMAGES = ODD["odd_images"]()

DEPTHS = {"uint8": (".png", ".tif", ".bmp", ".ppm", ".webp"), "uint16": (".png", ".tif", ".ppm")}


@pytest.fixture(scope="module")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("refiner") / "tiny.safetensors"
    architecture: dict[str, Any] = {"channels": 1, "features": 2, "blocks": 1}
    save_refiner(path, RefinerNetwork(RefinerArchitecture(**architecture)), training={})
    return path


def reasons(out: Path) -> dict[str, str]:
    if not (out / "rejected.csv").exists():
        return {}
    with (out / "rejected.csv").open(encoding="utf-8", newline="") as stream:
        return {row["file"]: row["reason"] for row in csv.DictReader(stream)}


@pytest.mark.parametrize("name", ODD_IMAGES)
def test_an_odd_image_is_converted_and_refined_or_named(tmp_path: Path, refiner: Path, name: str) -> None:
    odd = ODD_IMAGES[name]
    file = f"odd{odd.suffix}"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / file).write_bytes(odd.data)
    write_image(tmp_path / "in" / "sound.png", np.arange(6, dtype=np.uint8).reshape(2, 3))
    summary = convert(tmp_path / "in", tmp_path / "converted", Conversion())[""]
    assert summary.written + summary.rejected == 2
    refine_path(tmp_path / "in", tmp_path / "refined", refiner, device="cpu")
    for out in (tmp_path / "converted", tmp_path / "refined"):
        assert read_image(out / "sound.png").shape == (2, 3)
        rejected = reasons(out)
        assert odd.sound is None or (file not in rejected) == odd.sound, rejected
        assert len(list(out.glob("odd.*"))) == (file not in rejected)
        assert all(reason and "\n" not in reason for reason in rejected.values())


@pytest.mark.parametrize(
    "name", [name for name, odd in ODD_IMAGES.items() if odd.sound and name not in ("16 bits", "long comment")]
)
def test_a_sound_odd_image_looks_as_another_library_sees_it(tmp_path: Path, name: str) -> None:
    """Upright too, and nothing in what is written says that it should be turned again."""
    odd = ODD_IMAGES[name]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"odd{odd.suffix}").write_bytes(odd.data)
    convert(tmp_path / "in", tmp_path / "out", Conversion())
    (written,) = tmp_path.glob("out/odd.*")
    ours = Pillow.open(written)
    theirs = ImageOps.exif_transpose(Pillow.open(io.BytesIO(odd.data)))
    mode = "RGBA" if "A" in ours.mode else "RGB"
    difference = np.asarray(ours.convert(mode)).astype(int) - np.asarray(theirs.convert(mode))
    assert np.abs(difference).max() <= (3 if b"JFIF" in odd.data[:400] or "jpeg" in name else 1)
    assert 0x0112 not in ours.getexif() or ours.getexif()[0x0112] == 1


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), channels=st.sampled_from([1, 3, 4]), seed=st.integers(0, 999),
    kind=st.sampled_from([(depth, suffix) for depth, suffixes in DEPTHS.items() for suffix in suffixes]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_any_size_depth_and_channels_come_out_as_they_went_in(
    refiner: Path, height: int, width: int, channels: int, seed: int, kind: tuple[str, str]
) -> None:
    depth, suffix = kind
    channels = 3 if suffix in (".ppm", ".webp") else channels
    shape = (height, width) if channels == 1 else (height, width, channels)
    image = np.random.default_rng(seed).integers(0, np.iinfo(depth).max, shape, endpoint=True).astype(depth)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_image(place / "in" / f"x{suffix}", image, quality=LOSSLESS)
        convert(place / "in", place / "folder", Conversion())
        convert(place / "in", place / "store.h5", Conversion())
        convert(place / "store.h5", place / "back", Conversion())
        for out in ("folder", "back"):
            assert np.array_equal(read_image(place / out / f"x{suffix}"), image)
        refine_path(place / "in", place / "refined", refiner, device="cpu")
        refined = read_image(place / "refined" / f"x{suffix}")
        assert (refined.shape, refined.dtype) == (image.shape, image.dtype)
        if channels == 4:
            assert np.array_equal(refined[..., 3], image[..., 3])


@given(position=st.floats(0, 1), garbage=st.binary(min_size=1, max_size=300), name=st.sampled_from(sorted(ODD_IMAGES)))
@settings(max_examples=60, deadline=None)
def test_damage_in_a_file_never_stops_the_others(position: float, garbage: bytes, name: str) -> None:
    odd = ODD_IMAGES[name]
    data = ODD["patched"](odd.data, int(position * len(odd.data)), garbage)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_image(place / "in" / "sound.png", np.arange(6, dtype=np.uint8).reshape(2, 3))
        (place / "in" / f"odd{odd.suffix}").write_bytes(data)
        summary = convert(place / "in", place / "out", Conversion())[""]
        assert summary.written + summary.rejected == 2
        assert read_image(place / "out" / "sound.png").shape == (2, 3)


@pytest.mark.parametrize(("kind", "count"), [("damage", 120), ("values", 60)])
def test_the_fuzz_program_finds_nothing(kind: str, count: int) -> None:
    """``python tests/fuzz/run.py --count 5000`` looks further."""
    options = ["--count", str(count), "--seed", "0", "--kind", kind]
    done = subprocess.run([sys.executable, str(FUZZ / "run.py"), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{count} cases of seed 0" in done.stdout
