"""The two domains in memory, and the order in which they are drawn."""

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.core.errors import DataError, ImageError
from refiner.core.sampler import Sampler
from refiner.data import domains as data
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.domains import ImageDomain, StoredImages, load_domain
from refiner.data.labels.tables import write_labels
from refiner.images.io import write_image

EYE = (np.arange(8 * 12) * 2).reshape(8, 12).astype(np.uint8)


def load(folder: Path, *, channels: int = 1, size: tuple[int, int] = (8, 12)) -> ImageDomain:
    return load_domain(folder, key="data.synthetic", size=size, channels=channels)


def test_images_are_loaded_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        write_image(tmp_path / f"{number}.png", np.full((8, 12), number, np.uint8))
    domain = load(tmp_path)
    assert len(domain) == 3
    assert domain.images.shape == (3, 1, 8, 12)
    assert domain.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert domain.rejected == {}


def test_a_batch_is_in_the_range_of_the_network(tmp_path: Path) -> None:
    for name, level in (("a", 0), ("b", 255), ("c", 51)):
        write_image(tmp_path / f"{name}.png", np.full((8, 12), level, np.uint8))
    batch = load(tmp_path).batch([1, 0, 2, 1])
    assert batch.shape == (4, 1, 8, 12)
    assert batch.dtype == torch.float32
    assert batch[:, 0, 3, 5].tolist() == pytest.approx([1, -1, -0.6, 1])


def test_channels_are_mapped(tmp_path: Path) -> None:
    colour = np.zeros((8, 12, 4), np.uint8)
    colour[..., 0], colour[..., 3] = 255, 9
    write_image(tmp_path / "a.png", colour)
    write_image(tmp_path / "b.png", EYE)
    assert load(tmp_path).images[0, 0, 0, 0] == 76
    domain = load(tmp_path, channels=3)
    assert domain.images[0, :, 0, 0].tolist() == [255, 0, 0]
    assert np.array_equal(domain.images[1], np.stack([EYE] * 3))


def test_mixed_depths_become_sixteen_bits_without_moving_a_level(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", EYE)
    write_image(tmp_path / "b.png", EYE.astype(np.uint16) * 257)
    domain = load(tmp_path)
    assert domain.images.dtype == np.uint16
    assert np.array_equal(domain.images[0], domain.images[1])
    alone = ImageDomain(EYE[None, None])
    assert torch.equal(domain.batch([0]), alone.batch([0]))


def test_nearly_the_same_shape_is_resized_and_another_is_rejected(tmp_path: Path) -> None:
    for name, shape in {"close": (35, 55), "same": (36, 60), "wide": (36, 80), "turned": (60, 36)}.items():
        write_image(tmp_path / f"{name}.png", np.full(shape, 90, np.uint8))
    domain = load(tmp_path, size=(36, 60))
    assert domain.images.shape == (2, 1, 36, 60)
    assert set(domain.rejected) == {"wide.png", "turned.png"}
    assert domain.rejected["turned.png"] == "is 60x36, too far from the shape of 36x60; crop it, or change size"


def test_bad_images_are_left_out_by_name_and_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "good.png", EYE)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("text")
    domain = load(tmp_path)
    assert len(domain) == 1
    assert domain.rejected["empty.png"] == "is empty"
    assert domain.rejected["text.png"].startswith("is not an image of a supported type")
    assert len(domain.rejected) == 2
    assert "data.synthetic: empty.png is left out: is empty" in caplog.text


def test_nothing_usable_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data.synthetic is not set; name a folder of images with --set data.synthetic=DIR"
    ):
        load_domain(None, key="data.synthetic", size=(8, 12), channels=1)
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no images"):
        load(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"none of the 1 images of .* can be used; reason of the first: is empty"):
        load(tmp_path)


def test_more_than_fits_in_memory_is_refused_before_reading(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"the 1 images of .* do not fit in memory"):
        load(tmp_path, size=(99_999, 99_999))


# --- stores ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=[((8, 12), "uint8"), ((8, 12, 3), "uint8"), ((9, 13, 4), "uint16")])
def folder_and_store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    shape, dtype = request.param
    rng = np.random.default_rng(0)
    for number in range(11):
        image = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
        write_image(tmp_path / "in" / f"{number}.png", image)
    convert(tmp_path / "in", tmp_path / "in.h5", Conversion())
    return tmp_path / "in", tmp_path / "in.h5"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("limit", [2**32, 10])
def test_a_store_is_the_same_data_as_the_folder(
    folder_and_store: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, channels: int, limit: int
) -> None:
    folder = load(folder_and_store[0], channels=channels)
    monkeypatch.setattr(data, "MAX_BYTES", limit)
    monkeypatch.setattr(data, "_BLOCK", 4)
    store = load(folder_and_store[1], channels=channels)
    assert isinstance(store.images, StoredImages) == (limit == 10)
    assert len(store) == len(folder) == 11
    assert store.images.shape == folder.images.shape
    assert store.images.dtype == folder.images.dtype
    assert store.stored_size == folder.stored_size
    assert store.digest() == folder.digest()
    for indices in ([3], [10, 0, 3, 3], Sampler(11, 5, seed=1, purpose="synthetic").batch(4)):
        assert torch.equal(store.batch(indices), folder.batch(indices))


def test_a_digest_tells_images_and_their_order_apart() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 12), dtype=np.uint8)
    other = images.copy()
    other[3, 0, 2, 2] ^= 1
    domains = [images, other, images[::-1], images[:4], images.reshape(5, 1, 12, 8), images.astype(np.uint16)]
    assert len({ImageDomain(np.ascontiguousarray(each)).digest() for each in domains}) == len(domains)
    assert ImageDomain(images).digest() == ImageDomain(images.copy()).digest()


def test_a_store_that_is_read_lazily_is_checked_too(
    folder_and_store: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = folder_and_store
    monkeypatch.setattr(data, "MAX_BYTES", 10)
    with pytest.raises(DataError, match=r"the 11 images of .* do not fit in memory; convert them into a store"):
        load(folder)
    with pytest.raises(DataError, match=r"every image of .* is .*, too far from the shape of 12x8"):
        load(store, size=(12, 8))
    with h5py.File(store) as file:
        chunk = file["images"].id.get_chunk_info(4)
    content = bytearray(store.read_bytes())
    content[chunk.byte_offset + 7] ^= 1
    store.write_bytes(content)
    domain = load(store)
    assert len(domain.batch([3])) == 1
    with pytest.raises(ImageError, match=r"3\.png: its pixels in .* are damaged"):
        domain.batch([4])
    monkeypatch.setattr(data, "MAX_BYTES", 2**32)
    assert list(load(store).rejected) == ["3.png"]


# --- order -----------------------------------------------------------------------------------------------------


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_every_image_comes_once_an_epoch(count: int, batch_size: int, seed: int) -> None:
    sampler = Sampler(count, batch_size, seed=seed, purpose="synthetic")
    batches = [sampler.batch(position) for position in range(-(-3 * count // batch_size))]
    assert all(len(batch) == batch_size for batch in batches)
    stream = np.concatenate(batches)
    for epoch in range(3):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(positions=st.lists(st.integers(0, 30), min_size=1, max_size=8))
@settings(deadline=None)
def test_a_batch_does_not_depend_on_the_batches_before(positions: list[int]) -> None:
    sampler = Sampler(7, 5, seed=3, purpose="synthetic")
    for position in positions:
        fresh = Sampler(7, 5, seed=3, purpose="synthetic")
        assert np.array_equal(sampler.batch(position), fresh.batch(position))


def test_order_differs_by_epoch_seed_and_purpose() -> None:
    def first(seed: int, purpose: str, position: int = 0) -> tuple[int, ...]:
        return tuple(Sampler(50, 50, seed=seed, purpose=purpose).batch(position).tolist())

    orders = [first(0, "synthetic"), first(1, "synthetic"), first(0, "real"), first(0, "synthetic", 1)]
    assert len(set(orders)) == 4
    assert all(Counter(order) == Counter(range(50)) for order in orders)
    assert tuple(range(50)) not in orders


def labelled(folder: Path) -> Path:
    for number in range(4):
        write_image(folder / f"{number}.png", np.full((8, 12), 40 * number, np.uint8))
    gaze = {f"{number}.png": {"gaze": np.array([0.1 * number, -0.2])} for number in (0, 1, 3)}
    write_labels(folder / "labels.csv", gaze)
    return folder


@pytest.mark.parametrize("stored", [False, True])
def test_gaze_comes_along_and_images_without_are_left_out(stored: bool, tmp_path: Path) -> None:
    source = labelled(tmp_path / "synthetic")
    if stored:
        convert(source, tmp_path / "renders.h5", Conversion())
        source = tmp_path / "renders.h5"
    domain = load_domain(source, key="data.synthetic", size=(8, 12), channels=1, gaze=True)
    assert list(domain.rejected) == ["2.png"]
    assert "has no label gaze" in domain.rejected["2.png"]
    found = domain.conditions([2, 0])["gaze"]
    assert found.dtype == torch.float32
    assert np.allclose(found, [[0.3, -0.2], [0.0, -0.2]])
    assert domain.digest() != load_domain(source, key="data.synthetic", size=(8, 12), channels=1).digest()


def test_masks_are_of_each_image_or_of_all(tmp_path: Path) -> None:
    source = labelled(tmp_path / "synthetic")
    mask = np.zeros((16, 24), np.uint8)  # twice as large as the images
    mask[:8] = 255
    write_image(tmp_path / "mask.png", mask)
    write_image(tmp_path / "masks" / "3.png", np.full((8, 12), 51, np.uint8))
    write_image(tmp_path / "masks" / "0.png", mask)
    domain = load_domain(source, key="data.synthetic", size=(8, 12), channels=1, mask=tmp_path / "mask.png")
    found = domain.conditions([0, 3])["mask"]
    assert found.shape == (2, 1, 8, 12)
    assert torch.equal(found[1, 0], torch.cat([torch.ones(4, 12), torch.zeros(4, 12)]))
    domain = load_domain(source, key="data.synthetic", size=(8, 12), channels=1, mask=tmp_path / "masks")
    assert list(domain.rejected) == ["1.png", "2.png"]
    assert domain.conditions([1])["mask"].unique().tolist() == pytest.approx([0.2])


def test_nothing_lies_beside_unless_asked_for(tmp_path: Path) -> None:
    assert load(labelled(tmp_path / "synthetic")).conditions([0, 1]) == {}
