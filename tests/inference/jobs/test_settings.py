"""The backend of a job: its first run chooses it, and later runs and shards keep it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refiner.core.errors import DeviceError, OutputError
from refiner.core.parallel.shards import Shard
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.images.io import write_image
from refiner.inference.jobs import refine, settings, store
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import refiner_digest, save_refiner
from refiner.models.refiner import RefinerNetwork

COUNT = 24


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A folder and a store of the same images, and a refiner of random weights."""
    torch.manual_seed(1)
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1))
    save_refiner(tmp_path / "r.safetensors", network, training={})
    for number in range(COUNT):
        image = np.random.default_rng(number).integers(0, 256, (8, 12)).astype(np.uint8)
        write_image(tmp_path / "in" / f"{number:02d}.png", image)
    convert(tmp_path / "in", tmp_path / "in.h5", Conversion())
    return {"": tmp_path / "in", ".h5": tmp_path / "in.h5", "refiner": tmp_path / "r.safetensors"}


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backends that machine after machine finds fastest; the last one again and again."""
    names = ["torch"]

    def choose(*_: Any, **__: Any) -> str:
        return names.pop(0) if len(names) > 1 else names[0]

    monkeypatch.setattr(refine, "choose_backend", choose)
    monkeypatch.setattr(store, "CHUNK", 8)
    monkeypatch.setattr(store, "_SMALLEST_CHUNK", 4)
    return names


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_shards_and_their_merging_run_keep_the_first_backend(
    tmp_path: Path, places: dict[str, Path], chosen: list[str], suffix: str
) -> None:
    """Each machine prefers another backend: nothing is done twice, and nothing is lost."""
    out = tmp_path / f"out{suffix}"

    def run(**options: Any) -> Summary:
        return refine_path(places[suffix], out, places["refiner"], **options)

    chosen[:] = ["torch", "onnx", "openvino"]
    first, second = (run(shard=Shard(number, 2)) for number in (1, 2))
    assert first.refined + second.refined == COUNT
    assert run() == Summary(0, COUNT, 0)
    assert run() == Summary(0, COUNT, 0)
    if suffix:
        assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.h5"]
    # Another machine alone.
    chosen[:] = ["onnx"]
    assert run() == Summary(0, COUNT, 0)
    assert run(overwrite=True) == Summary(COUNT, 0, 0)
    assert settings.earlier_settings(out, refiner_digest(places["refiner"])) == ("onnx", "cpu", "fp32")


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_shards_that_start_at_the_same_moment_agree(
    tmp_path: Path, places: dict[str, Path], chosen: list[str], monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """The second looks before the first has written, and has chosen already when it wants to write."""
    out = tmp_path / f"out{suffix}"
    chosen[:] = ["torch", "onnx"]
    refine_path(places[suffix], out, places["refiner"], shard=Shard(1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(refine, "earlier_settings", lambda *_: None)
        patch.setattr(settings, "earlier_settings", lambda *_: None)
        refine_path(places[suffix], out, places["refiner"], shard=Shard(2, 2))
    assert refine_path(places[suffix], out, places["refiner"]) == Summary(0, COUNT, 0)


def files(out: Path) -> list[Path]:
    """List the refined images of a folder, or the chunks of a store."""
    return sorted([*out.glob("*.png"), *out.with_name(f"{out.name}.parts").glob("parts/*")])


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_a_backend_that_does_not_fit_is_refused(
    tmp_path: Path, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    out = tmp_path / f"out{suffix}"

    def run(**options: Any) -> Summary:
        return refine_path(places[suffix], out, places["refiner"], device="cpu", **options)

    run(backend="onnx", shard=Shard(1, 2))
    before = files(out)
    with pytest.raises(OutputError, match=r"was begun with --backend onnx --device cpu in fp32; leave out --backend"):
        run(backend="torch")
    monkeypatch.setattr(settings, "is_available", lambda name: name != "onnx")
    with pytest.raises(DeviceError, match=r"begun with --backend onnx .*, which this machine cannot compute; continue"):
        run(shard=Shard(2, 2))
    assert files(out) == before
    assert run(backend="torch", overwrite=True) == Summary(COUNT, 0, 0)


def test_a_job_of_a_gpu_is_not_continued_without_one(
    tmp_path: Path, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    refine_path(places[""], out, places["refiner"], device="cpu", shard=Shard(1, 2))
    (file,) = (out / ".refiner").glob("settings-*.json")
    monkeypatch.setattr("refiner.core.devices._has_gpu", lambda: False)
    file.write_text(json.dumps(["torch", "cuda", "bf16"]))
    with pytest.raises(DeviceError, match=r"out was begun with --backend torch --device cuda in bf16, which this"):
        refine_path(places[""], out, places["refiner"])
    # A GPU without bf16 would round otherwise.
    monkeypatch.setattr("refiner.core.devices._has_gpu", lambda: True)
    monkeypatch.setattr("refiner.inference.backends.torch_backend.computes_bf16", lambda device: False)
    with pytest.raises(DeviceError, match="in bf16, which this machine cannot compute"):
        refine_path(places[""], out, places["refiner"])
