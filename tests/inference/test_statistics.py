"""Refining by statistics of real images: the same bytes wherever and however a render is refined."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from refiner.core.errors import UsageError
from refiner.core.parallel.shards import Shard
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.images.io import read_image, write_image
from refiner.inference.backends.export import export_refiner
from refiner.inference.jobs.refine import refine_path
from refiner.inference.refiner import Refiner
from refiner.models.adapted import adapted_refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import load_refiner, save_refiner
from refiner.models.refiner import RefinerNetwork
from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner

SIZE = (10, 16)


@pytest.fixture(params=["fourier", "histogram", "adapted"])
def refiner(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A grey refiner of eight real images."""
    return save(tmp_path / "refiner.safetensors", request.param)


def save(path: Path, method: str, channels: int = 1) -> Path:
    module: FourierRefiner | HistogramRefiner
    if method in ("fourier", "adapted"):
        module = FourierRefiner(FourierArchitecture(channels, 8, SIZE, (0.1, 0.3)))
    else:
        module = HistogramRefiner(HistogramArchitecture(channels, 8, blend=(0.5, 1)))
    real = np.random.default_rng(5).normal(0.3, 0.2, (8, channels, *SIZE)).clip(-1, 1)
    module.fit(0, torch.from_numpy(real))
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(channels, features=3, blocks=1))
    save_refiner(path, adapted_refiner(module, network) if method == "adapted" else module, training={})
    return path


def pictures(folder: Path, shape: tuple[int, ...], dtype: Any = np.uint8, count: int = 41) -> Path:
    rng = np.random.default_rng(1)
    for number in range(count):
        image = rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
        write_image(folder / f"{number:03d}.png", image)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.png"))}


def test_folder_store_shards_workers_and_python_agree(refiner: Path, tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", SIZE)
    refine_path(source, tmp_path / "out", refiner, device="cpu")
    images = {name: read_image(tmp_path / "out" / name) for name in contents(source)}
    # Python: alone and together, as levels and as floats.
    refine = Refiner.load(refiner, device="cpu")
    originals = [read_image(source / name) for name in images]
    for original, refined, together in zip(originals, images.values(), refine(originals), strict=True):
        assert not np.array_equal(original, refined)
        assert np.array_equal(refine(original), refined)
        assert np.array_equal(together, refined)
        floats = refine(torch.from_numpy(original[None].astype(np.float32) / 255), value_range=(0, 1))
        assert np.array_equal((floats[0].numpy() * 255).round(), refined)
    # The names of the files do not matter, nor does the number of images.
    write_image(tmp_path / "alone" / "z.png", originals[3])
    refine_path(tmp_path / "alone", tmp_path / "alone_out", refiner, device="cpu")
    assert np.array_equal(read_image(tmp_path / "alone_out" / "z.png"), images["003.png"])
    # Workers and shards.
    refine_path(source, tmp_path / "workers", refiner, device="cpu", workers=2)
    for index in (1, 2):
        refine_path(source, tmp_path / "shards", refiner, device="cpu", shard=Shard(index, 2))
    assert refine_path(source, tmp_path / "shards", refiner, device="cpu").skipped == 41
    assert contents(tmp_path / "workers") == contents(tmp_path / "shards") == contents(tmp_path / "out")
    # A store.
    convert(source, tmp_path / "in.h5", Conversion(), attributes={})
    refine_path(tmp_path / "in.h5", tmp_path / "out.h5", refiner, device="cpu")
    with h5py.File(tmp_path / "out.h5") as file:
        assert np.array_equal(file["images"][..., 0], np.stack(list(images.values())))


@pytest.mark.parametrize("method", ["fourier", "histogram", "adapted"])
@pytest.mark.parametrize(("channels", "shape"), [(1, (9, 21, 4)), (3, (9, 21, 3)), (3, (9, 21))], ids=str)
def test_deep_and_colour_images_of_another_size(method: str, channels: int, shape: Any, tmp_path: Path) -> None:
    refiner = save(tmp_path / "r.safetensors", method, channels)
    for dtype in (np.uint8, np.uint16):
        source = pictures(tmp_path / f"in{dtype.__name__}", shape, dtype, count=6)
        refine_path(source, tmp_path / dtype.__name__, refiner, device="cpu")
        network = load_refiner(refiner).network()
        for name in contents(source):
            original, refined = read_image(source / name), read_image(tmp_path / dtype.__name__ / name)
            assert refined.shape == original.shape
            assert refined.dtype == dtype
            if shape == (9, 21, 3):  # the module itself, in its own range
                planes = torch.from_numpy(original.transpose(2, 0, 1) / (np.iinfo(dtype).max / 2) - 1)[None].float()
                expected = (network(planes)[0].detach().numpy().transpose(1, 2, 0).astype(float) + 1) * (
                    np.iinfo(dtype).max / 2
                )
                assert np.abs(refined - expected).max() <= 0.51
                if dtype == np.uint16:
                    assert (refined % 257 != 0).mean() > 0.7  # all 16 bits are used; some are clipped to white
            if shape[-1] == 4:
                assert np.array_equal(refined[..., 3], original[..., 3])


def test_large_images_are_refined_whole(refiner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 60)).astype(np.uint8)
    refine = Refiner.load(refiner, device="cpu")
    whole = refine(image)
    monkeypatch.setattr("refiner.inference.refiner.TILED_PIXELS", 100)
    monkeypatch.setattr("refiner.inference.tiling.SIDE", 16)
    assert np.array_equal(refine(image), whole)


def test_only_torch_runs_them_and_only_refiner_files_hold_them(refiner: Path, tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", SIZE, count=2)
    for backend in ("onnx", "torch-compiled", "openvino"):
        with pytest.raises(
            UsageError, match=f"--backend {backend} runs only networks, but the refiner holds .* of 8 real"
        ):
            refine_path(source, tmp_path / "out", refiner, device="cpu", backend=backend)
    for name in ("r.onnx", "r.xml"):
        with pytest.raises(UsageError, match=r"hold networks, but the refiner holds .*; export a \.safetensors file"):
            export_refiner(load_refiner(refiner), tmp_path / name)
        assert not (tmp_path / name).exists()
    export_refiner(load_refiner(refiner), tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == refiner.read_bytes()
