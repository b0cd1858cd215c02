"""Refining tensors and images in Python: sizes, types and order are kept, whatever the batch."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.core.devices import computes_bf16
from refiner.data.convert import Conversion, convert
from refiner.data.formats.registry import open_dataset
from refiner.images.io import write_image
from refiner.inference.backends import registry
from refiner.inference.backends.base import Backend
from refiner.inference.backends.batching import BATCH_PIXELS
from refiner.inference.refine import refine_path
from refiner.inference.refiner import FEW_IMAGES, Refiner, RefinerSource
from refiner.models.architecture import RefinerArchitecture
from refiner.models.refiner import RefinerNetwork
from refiner.models.refiner_file import load_refiner, refiner_digest, save_refiner


def save(path: Path, *, channels: int = 1, unshuffle: int = 1, seed: int | None = None, shift: float = 0.0) -> Path:
    """Save a tiny refiner: the identity, one that adds ``shift`` to everything, or one of random weights."""
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
        others = [noise((8, 12), seed=1000 + i) for i in range(FEW_IMAGES)]
        assert np.array_equal(refiner([*others, images[number]])[-1], batched[number])
        # Few images are computed without the others: alike among themselves, and close to those of a batch.
        alone = refiner(images[number])
        assert np.array_equal(refiner([*others[1:], images[number]])[-1], alone)
        assert np.abs(alone.astype(int) - batched[number]).max() <= 1


def test_the_network_sees_one_batch_shape_for_a_size_and_single_images(random_refiner: Path) -> None:
    """Backends choose their arithmetic by shape: only a constant one promises the same bytes."""
    refiner, shapes = Refiner.load(random_refiner, device="cpu"), []
    compute = refiner.backend
    refiner.backend = replace(compute, run=lambda images: shapes.append(images.shape) or compute(images))
    full = refiner.batch_size(36, 60)
    for count in (FEW_IMAGES + 1, full, full + 1):
        refiner([noise((36, 60), seed=i) for i in range(count)])
        refiner(torch.zeros(count, 1, 36, 60))
    assert set(shapes) == {(full, 1, 36, 60)}
    shapes.clear()
    for count in (1, FEW_IMAGES):
        refiner([noise((36, 60), seed=i) for i in range(count)])
        refiner(torch.zeros(count, 1, 36, 60))
        refiner.refine_batch(np.zeros((count, 1, 36, 60), np.float32))  # of a job: the last batch is padded
    assert shapes.count((1, 1, 36, 60)) == 2 * (1 + FEW_IMAGES)
    assert shapes.count((full, 1, 36, 60)) == 2
    assert len(shapes) == 2 * (1 + FEW_IMAGES) + 2


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend that rounds as bf16 does, only more so, on a processor that computes bf16."""

    def opened(name: str, *_: Any) -> Backend:
        return Backend(name, lambda images: np.round(images * 8) / 8)

    monkeypatch.setitem(registry.BACKENDS, "torch-bf16", opened)
    monkeypatch.setattr(registry, "computes_bf16", lambda device: True)
    return "torch-bf16"


def test_sixteen_bits_are_computed_in_fp32(random_refiner: Path, coarse: str) -> None:
    exact, rounded = (Refiner.load(random_refiner, device="cpu", backend=name) for name in ("torch", coarse))
    deep, flat = noise((8, 12), "uint16"), noise((8, 12))
    for images in ([deep], [deep, flat], [flat, deep] * 40):
        for image, refined, expected in zip(images, rounded(images), exact(images), strict=True):
            assert np.array_equal(refined, expected) == (image.dtype == np.uint16)


@pytest.mark.parametrize("suffix", ["", ".h5"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_jobs_compute_sixteen_bits_in_fp32(
    tmp_path: Path, random_refiner: Path, coarse: str, suffix: str, dtype: str
) -> None:
    for number in range(9):
        write_image(tmp_path / "in" / f"{number}.png", noise((8, 12), dtype, seed=number))
    convert(tmp_path / "in", tmp_path / "in.h5", Conversion())
    for name in ("torch", coarse):
        refine_path(tmp_path / f"in{suffix}", tmp_path / f"{name}{suffix}", random_refiner, device="cpu", backend=name)
    exact, rounded = (open_dataset(tmp_path / f"{name}{suffix}") for name in ("torch", coarse))
    for sample in exact.ids:
        assert np.array_equal(exact.read_image(sample), rounded.read_image(sample)) == (dtype == "uint16")


@pytest.mark.skipif(not computes_bf16("cpu"), reason="this processor emulates bf16")
@pytest.mark.parametrize("backend", ["torch-bf16", "openvino-bf16"])
def test_real_bf16_leaves_sixteen_bits_alone(random_refiner: Path, backend: str) -> None:
    if not registry.is_available(backend):
        pytest.skip(f"{backend} is not installed")
    fp32 = backend.removesuffix("-bf16")
    exact, fast = (Refiner.load(random_refiner, device="cpu", backend=name) for name in (fp32, backend))
    deep = [noise((8, 12), "uint16", seed=number) for number in range(6)]
    assert np.array_equal(exact(deep), fast(deep))


def test_freed_memory_is_kept_in_worker_processes_and_not_in_the_user_s(
    identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("refiner.inference.refiner.keep_freed_memory", lambda: calls.append("kept"))
    source = RefinerSource(identity, refiner_digest(identity), "cpu", "torch")
    Refiner.load(identity, device="cpu")
    source.open()
    assert not calls
    sent = pickle.loads(pickle.dumps(source))
    assert sent == source
    sent.open()
    assert calls == ["kept"]
