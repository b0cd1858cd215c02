"""Refining tensors and images in Python: sizes, types and order are kept, whatever the batch."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.core.devices import computes_bf16
from refiner.core.errors import DataError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.formats.registry import open_dataset
from refiner.images.io import write_image
from refiner.inference.backends import registry
from refiner.inference.backends.base import Backend
from refiner.inference.backends.batching import BATCH_PIXELS
from refiner.inference.jobs.refine import refine_path
from refiner.inference.refiner import FEW_IMAGES, Refiner, RefinerSource
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import load_refiner, refiner_digest, save_refiner
from refiner.models.refiner import RefinerNetwork


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
    assert torch.allclose(refiner(images.double()), refined.double())


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 2, 8, 12),
        torch.zeros(8, 12),
        torch.zeros(8, 12, dtype=torch.uint8),
        torch.zeros(8, 12, 3, dtype=torch.uint8),
        torch.zeros(1, 8, 12, dtype=torch.int64),
        np.zeros((8, 12), np.int64),
        np.zeros((8, 12), bool),
        np.zeros((8, 12, 2), np.uint8),
        np.zeros((3, 8, 12), np.uint8),
        np.zeros((2, 3, 8, 12), np.uint8),
        np.zeros(8, np.uint8),
        [np.zeros((8, 12), np.uint8), np.zeros((8, 12), np.int64)],
        [None],
        7,
        PIL.Image.new("P", (12, 8)),
        PIL.Image.new("1", (12, 8)),
    ],
)
def test_what_is_no_image_is_refused(identity: Path, images: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        Refiner.load(identity, device="cpu")(images)
    if isinstance(images, np.ndarray):
        with pytest.raises(ValueError, match="expected"):
            Refiner.load(identity, device="cpu")(images, value_range=(0, 1))


# --- any kind of image ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[1, 3], ids=["grey refiner", "colour refiner"])
def changing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Refiner:
    """A refiner that changes every image."""
    path = save(tmp_path_factory.mktemp("refiner") / "r", channels=request.param, seed=1)
    return Refiner.load(path, device="cpu")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(8, 12), (9, 14, 3), (7, 5, 4)], ids=str)
def test_the_pixels_are_the_same_in_every_kind(
    changing: Refiner, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    """An array (H, W[, C]) is the reference, which other tests judge; every other kind holds the same pixels."""
    image = noise(shape, dtype)
    expected = changing(image)
    assert expected.shape == shape
    assert not np.array_equal(expected, image)
    with_axis = image.reshape(*shape[:2], -1)
    first = torch.from_numpy(with_axis).permute(2, 0, 1)
    # Files and PIL images.
    write_image(tmp_path / "image.png", image)
    assert np.array_equal(changing(tmp_path / "image.png"), expected)
    assert np.array_equal(changing(str(tmp_path / "image.png")), expected)
    if dtype == "uint8" or len(shape) == 2:
        picture = changing(PIL.Image.fromarray(image))
        assert isinstance(picture, PIL.Image.Image)
        assert np.array_equal(np.array(picture), expected)
    # Arrays with an axis of channels, stacks, tensors.
    assert np.array_equal(changing(with_axis), expected.reshape(with_axis.shape))
    stack = changing(np.stack([with_axis, with_axis[::-1]]))
    assert stack.dtype == dtype
    assert np.array_equal(stack[0], expected.reshape(with_axis.shape))
    tensor = changing(first)
    assert tensor.shape == first.shape
    assert tensor.dtype == first.dtype
    assert np.array_equal(tensor.permute(1, 2, 0).numpy().reshape(shape), expected)
    five = changing(first.expand(2, 2, *first.shape))
    assert torch.equal(five, tensor.expand(2, 2, *first.shape))
    # A list of all of them.
    listed = changing([image, tmp_path / "image.png", first, with_axis])
    assert [type(one) for one in listed] == [np.ndarray, np.ndarray, torch.Tensor, np.ndarray]
    assert all(np.array_equal(np.asarray(one).ravel(), expected.ravel()) for one in (listed[0], listed[1], listed[3]))
    assert torch.equal(listed[2], tensor)


@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1), (0.0, 255.0)])
@pytest.mark.parametrize("shape", [(8, 12), (9, 14, 3), (7, 5, 4)], ids=str)
def test_floats_in_their_range_are_refined_without_rounding(
    changing: Refiner, shape: tuple[int, ...], value_range: tuple[float, float]
) -> None:
    image = noise(shape)
    expected = changing(image)
    lowest, highest = value_range
    floats = image / 255 * (highest - lowest) + lowest  # float64
    refined = changing(floats, value_range=value_range)
    assert refined.dtype == np.float64
    assert refined.shape == shape
    levels = (refined - lowest) / (highest - lowest) * 255
    assert np.abs(levels - expected).max() <= 0.5 + 1e-3
    assert np.abs(levels - np.rint(levels)).max() > 0.1
    if shape[2:] == (4,):
        assert np.allclose(refined[..., 3], floats[..., 3], rtol=1e-7)
    first = torch.from_numpy(floats.reshape(*shape[:2], -1)).permute(2, 0, 1)
    for dtype, near in ((torch.float64, 1e-6), (torch.float32, 1e-4), (torch.float16, 0.3)):
        tensor = changing(first.to(dtype), value_range=value_range)
        assert tensor.dtype == dtype
        found = (tensor.double().permute(1, 2, 0).numpy().reshape(shape) - lowest) / (highest - lowest) * 255
        assert np.abs(found - levels).max() <= near
    stack = np.stack([floats.reshape(*shape[:2], -1)] * 2).astype(np.float32)
    assert np.allclose(changing(stack, value_range=value_range)[1].reshape(shape), refined, atol=1e-3)


def test_a_tensor_without_a_range_is_in_that_of_the_network(changing: Refiner) -> None:
    images = torch.rand(2, changing.channels, 8, 12) * 2 - 1
    assert torch.equal(changing(images), changing(images, value_range=(-1, 1)))
    assert not torch.equal(changing(images.clamp(min=0)), changing(images.clamp(min=0), value_range=(0, 1)))
    assert torch.equal(changing(images)[0], changing(images[0]))


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (torch.full((1, 8, 12), 1.5), {}, r"values from 1\.5 to 1\.5, expected \[-1, 1\]; refine before normalizing"),
        (torch.full((1, 8, 12), 255.0), {}, r"expected \[-1, 1\]"),
        (torch.full((1, 8, 12), -0.5), {"value_range": (0, 1)}, r"values from -0\.5 to -0\.5, expected \[0, 1\]"),
        (torch.full((1, 8, 12), float("nan")), {}, "values from nan"),
        (np.full((8, 12), 1.01), {"value_range": (0, 1)}, r"expected \[0, 1\]"),
        (
            np.full((8, 12), 0.5),
            {},
            r"\(8, 12\) of float64, whose range is unknown; pass value_range=\(0, 1\)",
        ),
        ([np.zeros((8, 12), np.uint8), np.full((8, 12), 0.5)], {}, "whose range is unknown"),
    ],
)
def test_values_outside_their_range_are_refused(identity: Path, images: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Refiner.load(identity, device="cpu")(images, **options)


def test_an_unreadable_file_is_named(identity: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.png"):
        Refiner.load(identity, device="cpu")(tmp_path / "absent.png")


def test_it_says_what_it_is(tmp_path: Path) -> None:
    network = RefinerNetwork(RefinerArchitecture(channels=3, features=4, blocks=2))
    save_refiner(tmp_path / "r", network, training={"step": 700})
    expected = "<Refiner of RGB images: 4 features, 2 blocks, weights of step 700; torch on cpu>"
    assert repr(Refiner.load(tmp_path / "r", device="cpu")) == expected


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
