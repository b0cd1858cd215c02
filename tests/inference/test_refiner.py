"""Refining in Python and folder to folder: what comes in goes out, whatever happens on the way."""

import csv
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.core import files
from refiner.core.errors import DataError, ImageError, OutputError
from refiner.core.files import TEMPORARY_PREFIX
from refiner.images.io import LOSSLESS, encode_image, read_image, write_image
from refiner.inference.backends.batching import BATCH_PIXELS
from refiner.inference.refine import Summary, refine_path
from refiner.inference.refiner import Refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.lookup import REFINER_FILE
from refiner.models.refiner import RefinerNetwork
from refiner.models.refiner_file import load_refiner, save_refiner


def save(path: Path, *, channels: int = 1, unshuffle: int = 1, seed: int | None = None, shift: float = 0.0) -> Path:
    """A tiny refiner: the identity, one that adds ``shift`` to everything, or one of random weights."""
    architecture: dict[str, Any] = {"channels": channels, "features": 4, "blocks": 1, "unshuffle": unshuffle}
    architecture["output"] = "residual"
    torch.manual_seed(seed or 0)
    network = RefinerNetwork(RefinerArchitecture(**architecture))
    if seed is not None:
        torch.nn.init.normal_(network.head.weight, std=0.3)
    network.head.bias.data.fill_(float(np.arctanh(shift / 2)))
    save_refiner(path, network, training={})
    return path


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return save(tmp_path / "identity.safetensors")


@pytest.fixture
def random_refiner(tmp_path: Path) -> Path:
    return save(tmp_path / "random.safetensors", seed=1)


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    image.flat[0], image.flat[1 % image.size] = np.iinfo(dtype).max, 0
    return image


def fill(folder: Path, count: int, shape: tuple[int, ...] = (8, 12)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        write_image(folder / f"{number:03d}.png", noise(shape, seed=number))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of an output but the manifest and drift.csv, which tests/test_label_drift.py looks at."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".refiner" not in path.parts and path != folder / "drift.csv"
    }


def rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="") as stream:
        return {row["file"]: row["reason"] for row in csv.DictReader(stream)}


# --- in Python -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_identity_keeps_every_level(tmp_path: Path, channels: int, dtype: str) -> None:
    refiner = Refiner.load(save(tmp_path / "r", channels=channels), device="cpu")
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1)
    colour = np.stack([levels, levels[::-1], np.roll(levels, 5)], axis=-1)
    alpha = np.concatenate([colour, levels[::-1, :, None]], axis=-1)
    for image, refined in zip((levels, colour, alpha), refiner([levels, colour, alpha])):
        assert refined.dtype == image.dtype
        assert np.array_equal(refined, image)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (3,), (4,)])), max_size=4),
    channels=st.sampled_from([1, 3]),
    unshuffle=st.sampled_from([1, 2]),
)
@settings(max_examples=20, deadline=None)
def test_images_of_any_sizes_come_back_in_their_places(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[Any], channels: int, unshuffle: int
) -> None:
    path = save(tmp_path_factory.mktemp("refiner") / "r", channels=channels, unshuffle=unshuffle)
    images = [noise((h, w, *c), seed=i) for i, (h, w, c) in enumerate(sizes)]
    refined = Refiner.load(path, device="cpu")(images)
    assert len(refined) == len(images)
    assert all(np.array_equal(*pair) for pair in zip(images, refined))


def test_a_constant_image_stays_constant(tmp_path: Path) -> None:
    """No stretch per image: the same level goes to the same level, whatever else is in the picture."""
    refiner = Refiner.load(save(tmp_path / "r", shift=0.25), device="cpu")
    for level, dtype, expected in ((100, "uint8", 132), (0, "uint8", 32), (250, "uint8", 255), (1000, "uint16", 9192)):
        refined = refiner(np.full((7, 11), level, dtype))
        assert set(refined.ravel()) == {expected}


def test_a_grey_refiner_keeps_chroma_and_alpha(tmp_path: Path) -> None:
    refiner = Refiner.load(save(tmp_path / "r", seed=2), device="cpu")
    image = noise((9, 13, 4)) // 4 + 96  # far from both ends, so that nothing is clipped
    refined = refiner(image)
    change = refined[..., :3].astype(int) - image[..., :3]
    assert np.abs(change).max() > 3
    assert np.ptp(change, axis=2).max() <= 1
    assert np.array_equal(refined[..., 3], image[..., 3])


def test_a_colour_refiner_takes_grey_images(tmp_path: Path) -> None:
    refiner = Refiner.load(save(tmp_path / "r", channels=3, shift=0.25), device="cpu")
    assert refiner(np.full((5, 7), 100, np.uint8)).tolist() == [[132] * 7] * 5


def test_tensors_are_refined_as_the_network_does(random_refiner: Path) -> None:
    refiner, network = Refiner.load(random_refiner, device="cpu"), load_refiner(random_refiner).network()
    for count in (0, 1, refiner.batch_size(8, 12) + 1):
        images = torch.rand(count, 1, 8, 12) * 2 - 1
        refined = refiner(images)
        assert refined.shape == images.shape
        assert refined.dtype == torch.float32
        with torch.inference_mode():
            assert torch.allclose(refined, network(images), atol=1e-5)
    assert torch.allclose(refiner(images.double()), refined)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 3, 8, 12),
        torch.zeros(8, 12),
        torch.zeros(2, 1, 8, 12, dtype=torch.uint8),
        np.zeros((8, 12), np.float32),
        np.zeros((8, 12), np.int64),
        np.zeros((8, 12, 2), np.uint8),
        np.zeros((8, 12, 1), np.uint8),
        np.zeros((2, 8, 12, 3), np.uint8),
        np.zeros(8, np.uint8),
    ],
)
def test_other_kinds_of_arrays_are_refused(identity: Path, images: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        Refiner.load(identity, device="cpu")(images)


def test_no_images_give_no_images(identity: Path) -> None:
    assert Refiner.load(identity, device="cpu")([]) == []


@pytest.mark.parametrize(("height", "width"), [(1, 1), (36, 60), (35, 55), (480, 640), (5000, 5000)])
@pytest.mark.parametrize("device", BATCH_PIXELS)
def test_the_batch_depends_on_size_and_device_and_is_never_empty(
    identity: Path, height: int, width: int, device: str
) -> None:
    refiner = Refiner.load(identity, device="cpu")
    refiner.device = device
    size = refiner.batch_size(height, width)
    assert 1 <= size <= 256
    assert size == 1 or size * height * width <= BATCH_PIXELS[device]


def test_an_image_is_refined_alike_whatever_it_is_batched_with(random_refiner: Path) -> None:
    refiner = Refiner.load(random_refiner, device="cpu")
    images = [noise((8, 12), seed=i) for i in range(70)]
    batched = refiner(images)
    for number in (0, 1, 63, 64, 69):
        assert np.array_equal(refiner(images[number]), batched[number])


def test_the_network_sees_one_batch_shape_for_a_size(random_refiner: Path) -> None:
    """Backends choose their arithmetic by shape: only a constant one promises the same bytes."""
    refiner, shapes = Refiner.load(random_refiner, device="cpu"), set()
    compute = refiner.backend
    refiner.backend = replace(compute, run=lambda images: shapes.add(images.shape) or compute(images))
    full = refiner.batch_size(36, 60)
    for count in (1, 2, full, full + 1):
        refiner([noise((36, 60), seed=i) for i in range(count)])
        refiner(torch.zeros(count, 1, 36, 60))
    assert shapes == {(full, 1, 36, 60)}


# --- folder to folder ------------------------------------------------------------------------------------------

KINDS = [
    *((f"{dtype} {len(shape)} {shape[2:]}{suffix}", shape, dtype)
      for suffix in (".png", ".tif") for dtype in ("uint8", "uint16") for shape in ((5, 9), (5, 9, 3), (5, 9, 4))),
    *((f"{shape[2:]}.bmp", shape, "uint8") for shape in ((5, 9), (5, 9, 3), (5, 9, 4))),
    ("lossless.webp", (5, 9, 3), "uint8"),
    ("8.pgm", (5, 9), "uint8"),
    ("16.pgm", (5, 9), "uint16"),
    ("8.ppm", (5, 9, 3), "uint8"),
    ("pixel.png", (1, 1), "uint8"),
    ("row.png", (1, 17), "uint16"),
    ("column.png", (17, 1, 3), "uint8"),
]  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
def test_the_identity_keeps_every_kind_of_file(tmp_path: Path, channels: int) -> None:
    refiner = save(tmp_path / "r", channels=channels)
    for name, shape, dtype in KINDS:
        write_image(tmp_path / "in" / name, noise(shape, dtype), quality=LOSSLESS)
    summary = refine_path(tmp_path / "in", tmp_path / "out", refiner, device="cpu")
    assert summary == Summary(len(KINDS), 0, 0)
    for name, shape, dtype in KINDS:
        refined = read_image(tmp_path / "out" / name)
        assert refined.dtype == dtype, name
        assert np.array_equal(refined, noise(shape, dtype)), name
        assert (tmp_path / "out" / name).read_bytes()[:4] == (tmp_path / "in" / name).read_bytes()[:4]


def test_a_jpeg_stays_a_jpeg_of_the_same_size_and_channels(tmp_path: Path, identity: Path) -> None:
    smooth = np.add.outer(np.arange(16) * 5, np.arange(24) * 4).astype(np.uint8)
    write_image(tmp_path / "in" / "grey.jpg", smooth)
    write_image(tmp_path / "in" / "colour.JPEG", np.stack([smooth, smooth // 2, 255 - smooth], axis=-1))
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    for name in ("grey.jpg", "colour.JPEG"):
        before, after = read_image(tmp_path / "in" / name), read_image(tmp_path / "out" / name)
        assert after.shape == before.shape
        assert np.abs(after.astype(int) - before).max() <= 6


@pytest.mark.parametrize("extra", [0, 1, -1, 2, 3])
def test_as_many_files_come_out_as_went_in(tmp_path: Path, identity: Path, extra: int) -> None:
    size = Refiner.load(identity, device="cpu").batch_size(36, 60)
    count = {0: size, 1: size + 1, -1: size - 1, 2: 1, 3: 2 * size}[extra]
    fill(tmp_path / "in", count, (36, 60))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(count, 0, 0)
    assert contents(tmp_path / "out").keys() == contents(tmp_path / "in").keys()


def test_a_folder_without_images_is_a_clear_error(tmp_path: Path, identity: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"in holds no images; expected \.png"):
        refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")


def test_names_and_tree_are_kept(tmp_path: Path, identity: Path) -> None:
    names = [
        "a.jpg",
        "a.png",
        "a.jpeg",
        "sub/a.png",
        "with space/é ü 眼.png",
        "x.png/inside.png",
        "a.b.c.PNG",
        "-n.png",
    ]
    for name in names:
        write_image(tmp_path / "in" / name, noise((5, 9)))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu").refined == len(names)
    assert sorted(contents(tmp_path / "out")) == sorted(names)


def test_names_that_are_no_utf8_are_kept(tmp_path: Path, identity: Path) -> None:
    good, bad = os.fsdecode(b"\xe9ye.png"), os.fsdecode(b"b\xe4d.png")
    try:
        write_image(tmp_path / "in" / good, noise((5, 9)))
    except OutputError:
        pytest.skip("this file system takes UTF-8 names only")
    (tmp_path / "in" / bad).touch()
    for expected in (Summary(1, 0, 1), Summary(0, 1, 1)):
        assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == expected
    assert (tmp_path / "out" / good).exists()
    assert b"b\xe4d.png,read,is empty" in (tmp_path / "out" / "rejected.csv").read_bytes()


def test_mixed_sizes_go_through_in_one_run(tmp_path: Path, identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in tasks that end before a batch is full."""
    monkeypatch.setattr("refiner.inference.folder.TASK_IMAGES", 9)
    shapes = [(1 + i % 7, 1 + i // 7) for i in range(40)]
    for number, shape in enumerate(shapes):
        write_image(tmp_path / "in" / f"{number}.png", noise(shape, seed=number))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu").refined == len(shapes)
    assert contents(tmp_path / "out").keys() == contents(tmp_path / "in").keys()
    for number, shape in enumerate(shapes):
        assert np.array_equal(read_image(tmp_path / "out" / f"{number}.png"), noise(shape, seed=number))


def test_the_same_bytes_whatever_else_is_in_the_folder(tmp_path: Path, random_refiner: Path) -> None:
    fill(tmp_path / "in", 40)
    write_image(tmp_path / "in" / "colour.png", noise((8, 12, 3)))
    write_image(tmp_path / "in" / "other.png", noise((7, 5)))
    refine_path(tmp_path / "in", tmp_path / "out", random_refiner, device="cpu")
    for name in ("000.png", "017.png", "039.png", "colour.png", "other.png"):
        write_image(tmp_path / name / "in" / name, read_image(tmp_path / "in" / name))
        refine_path(tmp_path / name / "in", tmp_path / name / "out", random_refiner, device="cpu")
        alone = (tmp_path / name / "out" / name).read_bytes()
        assert alone == (tmp_path / "out" / name).read_bytes()
        assert alone != (tmp_path / "in" / name).read_bytes()
        refine_path(tmp_path / "in" / name, tmp_path / f"single-{name}", random_refiner, device="cpu")
        assert (tmp_path / f"single-{name}").read_bytes() == alone


def test_tables_go_along_unchanged(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in" / "sub", 1)
    tables = {
        "labels.csv": b"\xef\xbb\xbffile,gaze_pitch_rad\r\nsub/000.png,nan\r\n",
        "sub/000.json": b'{"iris_2d": []}',
        "NOTES.TXT": b"\xff\xfe",
        "card.yaml": b"",
    }
    for name, data in tables.items():
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "rejected.csv").write_text("file,stage,reason\nold.png,read,of the step before\n")
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(1, 0, 0)
    out = contents(tmp_path / "out")
    assert {name: out[name] for name in tables} == tables
    assert "rejected.csv" not in out


# --- what is finished ------------------------------------------------------------------------------------------


def test_the_second_run_decodes_nothing(tmp_path: Path, identity: Path) -> None:
    """Proved by taking away what there was to decode, behind the same size and time."""
    fill(tmp_path / "in", 5)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    before = contents(tmp_path / "out")
    for file in (tmp_path / "in").iterdir():
        status = file.stat()
        file.write_bytes(b"\0" * status.st_size)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(0, 5, 0)
    assert contents(tmp_path / "out") == before


def test_what_changed_is_done_again_and_nothing_else(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 5)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    write_image(tmp_path / "in" / "001.png", noise((8, 12), seed=77))
    (tmp_path / "out" / "003.png").unlink()
    write_image(tmp_path / "in" / "new.png", noise((8, 12), seed=78))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(3, 3, 0)
    assert np.array_equal(read_image(tmp_path / "out" / "001.png"), noise((8, 12), seed=77))
    assert np.array_equal(read_image(tmp_path / "out" / "003.png"), noise((8, 12), seed=3))


def test_an_image_that_is_only_touched_is_done_again(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 3)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    os.utime(tmp_path / "in" / "001.png", ns=(1, 1))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(1, 2, 0)


def test_another_refiner_or_option_does_everything_again(tmp_path: Path) -> None:
    fill(tmp_path / "in", 3)
    refiner = save(tmp_path / "run" / REFINER_FILE)

    def refine(**options: Any) -> Summary:
        return refine_path(tmp_path / "in", tmp_path / "out", tmp_path / "run", device="cpu", **options)

    assert refine() == Summary(3, 0, 0)
    assert refine_path(tmp_path / "in", tmp_path / "out", refiner, device="cpu") == Summary(0, 3, 0)  # the same file
    save(refiner, shift=0.25)
    assert refine() == Summary(3, 0, 0)
    assert np.array_equal(
        read_image(tmp_path / "out" / "000.png"), (noise((8, 12)) + 31.875).round().clip(0, 255).astype(np.uint8)
    )
    assert refine(quality=80) == Summary(3, 0, 0)
    assert refine(quality=80) == Summary(0, 3, 0)
    assert refine(quality=80, overwrite=True) == Summary(3, 0, 0)


def test_a_foreign_file_in_the_way_is_kept_unless_told_otherwise(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "001.png").write_text("holiday picture")
    with pytest.raises(OutputError, match=r"001\.png already exists and was not written by refiner"):
        refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    assert (tmp_path / "out" / "001.png").read_text() == "holiday picture"
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu", overwrite=True)
    assert np.array_equal(read_image(tmp_path / "out" / "001.png"), noise((8, 12), seed=1))


def test_an_input_that_went_bad_takes_its_output_along(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 2)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    (tmp_path / "in" / "001.png").write_text("text")
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(0, 1, 1)
    assert sorted(contents(tmp_path / "out")) == ["000.png", "rejected.csv"]
    write_image(tmp_path / "in" / "001.png", noise((8, 12)))
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu") == Summary(1, 1, 0)
    assert sorted(contents(tmp_path / "out")) == ["000.png", "001.png"]


# --- faults ----------------------------------------------------------------------------------------------------


def spoil(folder: Path) -> dict[str, str]:
    """One of every bad input; gives the reason expected of each."""
    good = {
        suffix: encode_image(Path("x" + suffix), noise((16, 24, 3)))
        for suffix in (".jpg", ".png", ".bmp", ".tif", ".webp")
    }
    for suffix, data in good.items():
        (folder / f"cut{suffix}").write_bytes(data[: len(data) * 2 // 3])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("text\n" * 100)
    (folder / "float.tif").write_bytes(_float_tiff())
    huge = bytearray(good[".png"])
    huge[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib

    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    (folder / "huge.png").write_bytes(huge)
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "dangling.csv").symlink_to(folder / "nowhere.csv")
    (folder / "loop").symlink_to(folder)
    (folder / "loop.png").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    (folder / "model.bin").write_bytes(b"\0" * 9)
    (folder / "deep.jpg").write_bytes(encode_image(Path("x.png"), noise((5, 7), "uint16")))
    return {
        "cut.jpg": "is a truncated JPEG",
        "cut.png": "is a truncated or corrupt PNG",
        "cut.bmp": "is a truncated BMP",
        "cut.tif": "is truncated in its header; it is not an image that can be decoded",
        "cut.webp": "is a truncated WebP",
        "empty.png": "is empty",
        "text.png": "is not an image of a supported type: PNG, JPEG, TIFF, WebP, BMP, PGM or PPM",
        "float.tif": "holds float32 values; expected 8 or 16 bits",
        "huge.png": "has 10,000,000,000 pixels; at most 67,108,864 are read",
        "dangling.png": "cannot be read (No such file or directory)",
        "dangling.csv": "cannot be read",
        "loop": "is a link to a folder, which is not followed",
        "loop.png": "is not a regular file",
        "pipe.png": "is not a regular file",
        "model.bin": "is neither an image nor a table that is copied with images",
        "deep.jpg": ".jpg holds 8 bits, but the image has 16; use .png",
    }


def _float_tiff() -> bytes:
    import cv2

    return bytes(cv2.imencode(".tif", np.zeros((4, 6), np.float32))[1].tobytes())


def test_bad_inputs_are_listed_with_reasons_and_the_rest_is_done(tmp_path: Path, identity: Path) -> None:
    fill(tmp_path / "in", 20)
    reasons = spoil(tmp_path / "in")
    progress: list[tuple[int, int]] = []
    summary = refine_path(
        tmp_path / "in", tmp_path / "out", identity, device="cpu", report=lambda *at: progress.append(at)
    )
    assert summary == Summary(20, 0, len(reasons))
    assert rejected(tmp_path / "out") == reasons
    assert sorted(contents(tmp_path / "out")) == [*(f"{i:03d}.png" for i in range(20)), "rejected.csv"]
    total = 20 + len(reasons)
    assert progress == sorted(progress)  # after each task
    assert progress[-1] == (total, total)


@pytest.mark.parametrize("name", ["empty.png", "model.bin", "deep.jpg", "dangling.csv"])
def test_stopping_at_the_first_bad_input_names_it(tmp_path: Path, identity: Path, name: str) -> None:
    everything = tmp_path / "all"
    everything.mkdir()
    reason = spoil(everything)[name]
    fill(tmp_path / "in", 2)
    (everything / name).rename(tmp_path / "in" / name)
    with pytest.raises(ImageError) as raised:
        refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu", stop_on_error=True)
    assert raised.value.path == tmp_path / "in" / name
    assert reason in raised.value.reason
    assert rejected(tmp_path / "out") == {name: reason}


class _FullDisk:
    """A disk that fills up: the n-th file gets half its bytes."""

    def __init__(self, after: int) -> None:
        self.left, self.original = after, files._write_all

    def __call__(self, stream: Any, data: bytes) -> None:
        if isinstance(stream.name, int):  # a temporary file, not the manifest
            self.left -= 1
            if self.left < 0:
                self.original(stream, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.original(stream, data)


def test_a_full_disk_ends_in_one_line_and_nothing_half_written(
    tmp_path: Path, identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "in", 20)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_all", _FullDisk(7))
        with pytest.raises(OutputError, match=r"\.png cannot be written \(No space left on device\); free some space"):
            refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    written = contents(tmp_path / "out")
    assert len(written) == 7
    assert all(data == (tmp_path / "in" / name).read_bytes() for name, data in written.items())
    assert refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu").rejected == 0
    assert len(contents(tmp_path / "out")) == 20


def run_python(program: str, *, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*prefix, sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def test_a_kill_in_the_middle_costs_nothing_but_time(tmp_path: Path, random_refiner: Path) -> None:
    fill(tmp_path / "in", 200)
    (tmp_path / "in" / "labels.csv").write_text("file\n")
    (tmp_path / "in" / "bad.png").touch()
    refine_path(tmp_path / "in", tmp_path / "whole", random_refiner, device="cpu")
    out = tmp_path / "out"
    killed = run_python(f"""
import os, signal
from pathlib import Path
from refiner.inference.refine import refine_path
def report(done, total):
    if done >= 70:
        os.kill(os.getpid(), signal.SIGKILL)
folders = Path({str(tmp_path / "in")!r}), Path({str(out)!r})
refine_path(*folders, Path({str(random_refiner)!r}), device="cpu", report=report)
""")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = len(contents(out))
    assert 0 < done < 200
    (out / f"{TEMPORARY_PREFIX}x.png").write_text("half")  # as if it had hit in the middle of a write, too
    summary = refine_path(tmp_path / "in", out, random_refiner, device="cpu")
    assert summary.refined + summary.skipped == 200
    assert summary.skipped >= 60
    assert contents(out) == contents(tmp_path / "whole")


def test_what_may_not_be_read_is_rejected_by_name(tmp_path: Path, identity: Path) -> None:
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:  # root reads everything, unless it gives up the right to
        from shutil import which

        if not which("setpriv"):
            pytest.skip("root without setpriv cannot be kept from reading")
        drop = "-dac_override,-dac_read_search"
        prefix = ("setpriv", "--bounding-set", drop, "--inh-caps", drop)
    fill(tmp_path / "in", 2)
    fill(tmp_path / "in" / "closed", 1)
    (tmp_path / "in" / "labels.csv").write_text("file\n")
    closed = [tmp_path / "in" / name for name in ("001.png", "labels.csv", "closed")]
    for path in closed:
        path.chmod(0)
    try:
        result = run_python(
            f"""
from pathlib import Path
from refiner.inference.refine import refine_path
folders = Path({str(tmp_path / "in")!r}), Path({str(tmp_path / "out")!r})
print(refine_path(*folders, Path({str(identity)!r}), device="cpu"))
""",
            prefix=prefix,
        )
    finally:
        for path in closed:
            path.chmod(0o755)
    assert result.stdout == "Summary(refined=1, skipped=0, rejected=3)\n", result.stderr
    assert rejected(tmp_path / "out") == {
        "001.png": "cannot be read (Permission denied)",
        "closed": "is a folder that cannot be read",
        "labels.csv": "cannot be read",
    }


# --- one image -------------------------------------------------------------------------------------------------


def test_one_image_into_one_image(tmp_path: Path, identity: Path) -> None:
    image = noise((5, 9, 4), "uint16")
    write_image(tmp_path / "eye.png", image)
    assert refine_path(tmp_path / "eye.png", tmp_path / "new" / "a.tif", identity, device="cpu") == Summary(1, 0, 0)
    assert np.array_equal(read_image(tmp_path / "new" / "a.tif"), image)
    refine_path(tmp_path / "eye.png", tmp_path / "new", identity, device="cpu")  # into a folder, under its own name
    assert np.array_equal(read_image(tmp_path / "new" / "eye.png"), image)


def test_one_image_does_not_replace_another_unasked(tmp_path: Path) -> None:
    refiner = save(tmp_path / "r", shift=0.25)
    write_image(tmp_path / "eye.png", np.full((5, 9), 100, np.uint8))
    with pytest.raises(OutputError, match="already exists; choose another name, or pass --overwrite to replace it"):
        refine_path(tmp_path / "eye.png", tmp_path / "eye.png", refiner, device="cpu")
    refine_path(tmp_path / "eye.png", tmp_path / "eye.png", refiner, device="cpu", overwrite=True)
    assert set(read_image(tmp_path / "eye.png").ravel()) == {132}


def test_one_bad_image_or_target_is_a_clear_error(tmp_path: Path, identity: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    write_image(tmp_path / "deep.png", noise((5, 7), "uint16"))

    def attempt(source: str, destination: str) -> Callable[[], Summary]:
        return lambda: refine_path(tmp_path / source, tmp_path / destination, identity, device="cpu")

    for act, reason in (
        (attempt("missing.png", "a.png"), r"missing\.png does not exist"),
        (attempt("text.png", "a.png"), r"text\.png: is not an image"),
        (attempt("deep.png", "a.jpg"), r"a\.jpg: \.jpg holds 8 bits"),
        (attempt("deep.png", "a.gif"), r"a\.gif: has no known image suffix"),
    ):
        with pytest.raises((DataError, OutputError), match=reason):
            act()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep.png", "identity.safetensors", "text.png"]


def test_a_lossless_webp_stays_lossless(tmp_path: Path, identity: Path) -> None:
    image = noise((9, 14, 3))
    write_image(tmp_path / "in" / "a.webp", image, quality=LOSSLESS)
    write_image(tmp_path / "in" / "b.webp", image, quality=80)
    refine_path(tmp_path / "in", tmp_path / "out", identity, device="cpu")
    assert np.array_equal(read_image(tmp_path / "out" / "a.webp"), image)
    assert (tmp_path / "out" / "b.webp").read_bytes()[12:16] == b"VP8 "
