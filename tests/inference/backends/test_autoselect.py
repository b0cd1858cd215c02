"""The choice of a backend: torch for small jobs, else the fastest of a trial, which is remembered."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.images.io import write_image
from refiner.inference.backends import autoselect
from refiner.inference.backends.autoselect import COMPILING_MULTIPLICATIONS, choose_backend, fastest_backend
from refiner.inference.backends.base import Array, Backend
from refiner.inference.backends.batching import Extent
from refiner.inference.backends.registry import open_backend
from refiner.inference.jobs.plan import job_extent
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile, save_refiner
from refiner.models.refiner import RefinerNetwork


@pytest.fixture
def refiner() -> RefinerFile:
    return RefinerFile.of(RefinerNetwork(RefinerArchitecture(features=4, blocks=1, output="residual")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(5):
        write_image(tmp_path / "in" / f"{number}.png", rng.integers(0, 256, (8, 12), np.uint8))
    (tmp_path / "in" / "0.jpg").write_bytes(b"no image")
    return tmp_path / "in"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "simgan-refiner" / "backends.json"


def _slowed(monkeypatch: pytest.MonkeyPatch, fast: str) -> list[str]:
    """Make one backend the fastest in every trial; return the list of trials."""
    tried: list[str] = []

    def pick(refiner: RefinerFile, images: object, names: object) -> Backend:
        tried.append(fast)
        return Backend(fast, lambda images: images)

    monkeypatch.setattr(autoselect, "fastest_backend", pick)
    return tried


def test_a_small_job_is_torch_s_without_a_trial(
    folder: Path, refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    tried = _slowed(monkeypatch, "onnx")
    assert choose_backend(job_extent(folder), refiner, device="cpu") == "torch"
    assert choose_backend(job_extent(folder / "1.png"), refiner, device="cpu") == "torch"
    assert choose_backend(job_extent(folder / "absent"), refiner, device="cpu") == "torch"
    assert not tried
    assert not cache.exists()


def test_a_large_job_is_tried_once_and_the_choice_remembered(
    folder: Path, refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(autoselect, "SMALL_JOB_PIXELS", 5 * 8 * 12)
    tried = _slowed(monkeypatch, "onnx")
    assert [choose_backend(job_extent(folder), refiner, device="cpu") for _ in range(2)] == ["onnx", "onnx"]
    assert len(tried) == 1
    (key,) = json.loads(cache.read_text())
    cache.write_text(json.dumps({key: "a backend of a later version"}))
    assert choose_backend(job_extent(folder), refiner, device="cpu") == "onnx"
    assert len(tried) == 2
    cache.write_text("damaged")
    assert choose_backend(job_extent(folder), refiner, device="cpu") == "onnx"
    another = RefinerFile.of(RefinerNetwork(RefinerArchitecture(features=5)))
    assert choose_backend(job_extent(folder), another, device="cpu") == "onnx"
    assert len(tried) == 4


def test_what_is_tried_is_there_and_compiled_only_where_that_pays(
    refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    tried: list[Sequence[str]] = []

    def pick(refiner: RefinerFile, images: np.ndarray, names: Sequence[str]) -> Backend:
        tried.append(names)
        return Backend(names[-1], lambda images: images)

    monkeypatch.setattr(autoselect, "fastest_backend", pick)
    monkeypatch.setattr(autoselect, "is_available", lambda name: name.startswith("torch"))
    paper, count = (
        RefinerFile.of(RefinerNetwork()),
        COMPILING_MULTIPLICATIONS // (296_000 * 36 * 60),
    )  # weights at every pixel
    names = [choose_backend(Extent(int(count * share), (36, 60)), paper, device="cpu") for share in (0.95, 1.05)]
    assert names == ["torch-bf16", "torch-compiled-bf16"]
    assert tried == [["torch", "torch-bf16"], ["torch", "torch-bf16", "torch-compiled", "torch-compiled-bf16"]]
    monkeypatch.setattr(autoselect, "is_available", lambda name: name in ("torch", "torch-compiled"))
    assert choose_backend(Extent(10**6, (36, 60)), paper, device="cpu") == "torch-compiled"
    assert len(tried) == 3
    # Images of 16 bits are computed in fp32, so bf16 is not tried for them.
    monkeypatch.setattr(autoselect, "is_available", lambda name: name.startswith("torch"))
    assert choose_backend(Extent(10**6, (30, 50), deep=True), paper, device="cpu") == "torch-compiled"
    assert tried[3:] == [["torch", "torch-compiled"]]


def test_a_trial_s_images_are_no_larger_than_a_batch_of_small_ones(
    tmp_path: Path, refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    for number in range(2):
        write_image(tmp_path / "in" / f"{number}.png", np.zeros((1500, 2000), np.uint8))
    seen: list[tuple[int, ...]] = []

    def pick(refiner: RefinerFile, images: np.ndarray, names: object) -> Backend:
        seen.append(tuple(images.shape))
        return Backend("torch", lambda images: images)

    monkeypatch.setattr(autoselect, "fastest_backend", pick)
    assert choose_backend(job_extent(tmp_path / "in"), refiner, device="cpu") == "torch"
    assert seen == [(1, 1, 144, 240)]


def test_a_store_is_large_by_its_images_and_their_size(
    folder: Path, tmp_path: Path, refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    (folder / "0.jpg").unlink()
    convert(folder, tmp_path / "in.h5", Conversion())
    tried = _slowed(monkeypatch, "onnx")
    monkeypatch.setattr(autoselect, "SMALL_JOB_PIXELS", 5 * 8 * 12 + 1)
    assert choose_backend(job_extent(tmp_path / "in.h5"), refiner, device="cpu") == "torch"
    monkeypatch.setattr(autoselect, "SMALL_JOB_PIXELS", 5 * 8 * 12)
    assert choose_backend(job_extent(tmp_path / "in.h5"), refiner, device="cpu") == "onnx"
    assert len(tried) == 1


def test_a_cache_that_cannot_be_written_stops_nothing(
    folder: Path, refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(autoselect, "SMALL_JOB_PIXELS", 0)
    _slowed(monkeypatch, "onnx")
    assert choose_backend(job_extent(folder), refiner, device="cpu") == "onnx"


def test_refining_goes_on_with_the_backend_it_began_with(
    folder: Path, tmp_path: Path, refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    save_refiner(tmp_path / "r.safetensors", refiner.network(), training={})
    monkeypatch.setattr(autoselect, "SMALL_JOB_PIXELS", 0)
    _slowed(monkeypatch, "onnx")
    assert refine_path(folder, tmp_path / "out", tmp_path / "r.safetensors", device="cpu") == Summary(5, 0, 1)
    _slowed(monkeypatch, "openvino")
    assert refine_path(folder, tmp_path / "out", tmp_path / "r.safetensors", device="cpu") == Summary(0, 5, 1)


def test_the_trial_takes_what_is_there_and_says_why(
    refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(autoselect, "ROUND_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "refiner"):
        chosen = fastest_backend(refiner, np.zeros((2, 1, 8, 12), np.float32), ["torch", "onnx"])
    assert chosen.name in ("torch", "onnx")
    (line,) = caplog.messages
    assert line.startswith(f"using backend {chosen.name}, the fastest in a trial")
    assert "torch" in line
    assert "onnx" in line
    assert "openvino" not in line


def test_a_backend_that_fails_or_errs_here_is_left_out(
    refiner: RefinerFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(images: Array) -> Array:
        raise RuntimeError("Convolution\nis not initialized")

    wrong: dict[str, Callable[[Array], Array]] = {
        "torch-bf16": lambda images: images + 3 / 127.5,
        "openvino": lambda images: images * np.nan,
        "openvino-bf16": fails,
    }

    def opened(name: str, refiner: RefinerFile, *, device: str, threads: int) -> Backend:
        return Backend(name, wrong[name]) if name in wrong else open_backend(name, refiner, device=device)

    monkeypatch.setattr(autoselect, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(autoselect, "open_backend", opened)
    with caplog.at_level(logging.INFO, "refiner"):
        chosen = fastest_backend(refiner, np.zeros((2, 1, 8, 12), np.float32), ["torch", *wrong, "onnx"])
    assert chosen.name in {"torch", "onnx"}
    assert caplog.messages[:-1] == [
        "backend torch-bf16 is left out: its result differs from torch by 3.0 grey levels",
        "backend openvino is left out: its result differs from torch by nan grey levels",
        "backend openvino-bf16 is left out: it fails here (Convolution is not initialized)",
    ]
    assert not any(name in caplog.messages[-1] for name in wrong)
