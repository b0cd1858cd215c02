"""Training batches that are refined anew: the pixels by an independent formula, resuming, and what is refused."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from refiner.core.errors import ConfigurationError, DataError, RunError, UsageError, WrongInputError
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import load_patches
from refiner.gaze.networks.file import load_estimator
from refiner.gaze.training.refining import BatchRefiner, load_batch_refiner
from refiner.gaze.training.train import train_estimator
from refiner.inference.jobs.refine import refine_path
from refiner.models.adapted import AdaptedRefiner, adapted_refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import load_refiner, refiner_digest, save_refiner
from refiner.models.modules import RefinerModule
from refiner.models.refiner import RefinerNetwork
from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner

SIZE = (16, 24)
REALS = np.random.default_rng(5).normal(0.3, 0.2, (8, *SIZE)).clip(0, 1)
BETA = (0.05, 0.3)
TRANSFORMS = {"transforms": [{"HorizontalFlip": {"p": 0.5}}]}


def save(path: Path, method: str = "fourier", channels: int = 1, size: tuple[int, int] = SIZE) -> Path:
    module: RefinerModule
    if method == "network":
        torch.manual_seed(1)
        module = RefinerNetwork(RefinerArchitecture(channels, features=3, blocks=1))
    elif method in ("fourier", "adapted"):
        module = FourierRefiner(FourierArchitecture(channels, len(REALS), size, BETA))
    else:
        module = HistogramRefiner(HistogramArchitecture(channels, len(REALS), blend=(0.3, 1)))
    if isinstance(module, FourierRefiner | HistogramRefiner):
        reals = np.resize(REALS, (len(REALS), *size))[:, None].repeat(channels, axis=1)
        module.fit(0, torch.from_numpy(reals * 2 - 1))
        if method == "adapted":
            torch.manual_seed(1)
            module = adapted_refiner(module, RefinerNetwork(RefinerArchitecture(channels, features=3, blocks=1)))
    save_refiner(path, module, training={"configuration": {"size": list(size)}})
    return path


def changed(configuration: GazeConfiguration, **values: Any) -> GazeConfiguration:
    return GazeConfiguration.model_validate({**configuration.model_dump(), **values})


def opened(path: Path, *, share: float = 1.0, equalize: bool = False, seed: int = 3) -> BatchRefiner:
    file = load_refiner(path)
    return BatchRefiner(file, digest="", share=share, equalize=equalize, seed=seed)


def pictures(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(60, 200, (count, 1, *SIZE)).astype(np.uint8)


def adapted(image: np.ndarray[Any, Any], draw: bytes) -> np.ndarray[Any, Any]:
    """Fourier domain adaptation of one image by its draw, with NumPy's transform; in levels."""
    real = REALS[int.from_bytes(draw[:8], "little") % len(REALS)]
    beta = BETA[0] + int.from_bytes(draw[8:14], "little") / 2**48 * (BETA[1] - BETA[0])
    rows, columns = (np.abs(np.fft.fftfreq(side, 1 / side)) for side in SIZE)
    inside = np.maximum(rows[:, None], columns[None]) <= int(min(SIZE) * beta)
    spectrum = np.fft.fft2(image / 255)
    amplitude = np.where(inside, np.abs(np.fft.fft2(real)), np.abs(spectrum))
    return np.asarray(np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum))).real.clip(0, 1) * 255)


@pytest.mark.parametrize("equalize", [False, True])
def test_a_batch_is_adapted_by_the_draws_of_seed_step_and_position(equalize: bool, tmp_path: Path) -> None:
    refiner, images = opened(save(tmp_path / "r.safetensors"), equalize=equalize), pictures(7)
    batches = []
    for step in (0, 9):
        batches.append(refiner.batch(torch.from_numpy(images), step).numpy())
        assert batches[-1].dtype == np.uint8
        for place, image in enumerate(batches[-1]):
            levels = adapted(images[place, 0], hashlib.sha256(f"3/gaze-refiner/{step}/{place}".encode()).digest())
            if equalize:
                assert np.array_equal(image[0], cv2.equalizeHist(levels.round().astype(np.uint8)))
            else:
                assert np.abs(image[0] - levels).max() <= 0.501
    assert np.array_equal(images, pictures(7))  # the data stay as they are
    assert all(not np.array_equal(first, second) for first, second in zip(*batches, strict=True))


def test_a_share_of_each_batch_is_refined_and_the_rest_stays(tmp_path: Path) -> None:
    path, images = save(tmp_path / "r.safetensors"), pictures(10)
    whole, part, none = (opened(path, share=share) for share in (1.0, 0.37, 0.0))
    batch = torch.from_numpy(images)
    counts, at = [], np.zeros(10)
    for step in range(200):
        refined = part.batch(batch, step).numpy()
        differs = (refined != images).any(axis=(1, 2, 3))
        # A refined image is that of the whole batch at its place.
        assert np.array_equal(refined[differs], whole.batch(batch, step).numpy()[differs])
        counts.append(int(differs.sum()))
        at += differs
    assert set(counts) == {3, 4}
    assert np.mean(counts) == pytest.approx(3.7, abs=0.1)
    assert np.abs(at / 200 - 0.37).max() < 0.12  # every place has its turn
    assert np.array_equal(none.batch(batch, 0).numpy(), images)
    equalized = opened(path, share=0.0, equalize=True).batch(batch, 0).numpy()
    assert np.array_equal(equalized[4, 0], cv2.equalizeHist(images[4, 0]))


def test_a_network_behind_an_adaptation_refines_the_adapted_batch(tmp_path: Path) -> None:
    path, images = save(tmp_path / "r.safetensors", "adapted"), pictures(7)
    network = load_refiner(path).network()
    assert isinstance(network, AdaptedRefiner)
    for step in (0, 9):
        draws = [hashlib.sha256(f"3/gaze-refiner/{step}/{place}".encode()).digest() for place in range(7)]
        levels = np.stack([adapted(image[0], draw) for image, draw in zip(images, draws, strict=True)])
        with torch.no_grad():
            expected = network.network(torch.from_numpy(levels[:, None] / 127.5 - 1).float())
        found = opened(path).batch(torch.from_numpy(images), step).numpy()
        assert np.abs(found - (expected.numpy() + 1) * 127.5).max() <= 0.51


@pytest.mark.parametrize("method", ["fourier", "histogram", "network", "adapted"])
def test_held_out_images_are_those_of_the_command(method: str, gazes: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "r.safetensors", method)
    refine_path(gazes, tmp_path / "refined", path, device="cpu")
    expected = load_patches([tmp_path / "refined"], size=SIZE, equalize=True, head_pose=False, key="")
    raw = load_patches([gazes], size=SIZE, equalize=False, head_pose=False, key="")
    found = opened(path, equalize=True).held_out(raw)
    different = (found.images != expected.images).mean()
    assert different == 0 if method in ("fourier", "histogram") else different < 0.01
    assert np.array_equal(found.gaze, raw.gaze)
    assert found.ids == raw.ids


class Killed(BaseException):
    """Stands for a kill between two steps: nothing catches it, nothing is saved."""


@pytest.mark.parametrize(
    ("method", "values", "augmentation"),
    [
        ("fourier", {"equalize": True}, {"strong": 1.0, "refined_share": 0.6, **TRANSFORMS}),
        ("histogram", {"head_pose": "yaw"}, {"strong": 0.5}),
        ("network", {}, {}),
        ("adapted", {}, {}),
    ],
)
def test_a_resumed_run_equals_one_that_was_never_stopped(
    method: str, values: dict[str, Any], augmentation: dict[str, Any], tiny_gaze: GazeConfiguration, tmp_path: Path
) -> None:
    path = save(tmp_path / "r.safetensors", method)
    configuration = changed(tiny_gaze, **values, augmentation={"refiner": path, **augmentation})
    whole = train_estimator(configuration, tmp_path / "whole", device="cpu")
    for at in (2, 4, 8):

        def kill(step: int, steps: int, means: dict[str, float], at: int = at) -> None:
            if step == at:
                raise Killed

        run = tmp_path / f"broken{at}"
        with pytest.raises(Killed):
            train_estimator(configuration, run, device="cpu", report=kill)
        torch.rand(5)
        assert train_estimator(configuration, run, device="cpu").read_bytes() == whole.read_bytes()
    # The weights follow from the refiner, and the file names it without its place.
    raw = train_estimator(changed(configuration, augmentation={**augmentation, "refined_share": 1}), tmp_path / "raw")
    assert not torch.equal(*(next(load_estimator(file).network.parameters()) for file in (raw, whole)))
    summary = load_estimator(whole).metadata["training"]
    assert summary["refiner"] == refiner_digest(path)
    assert str(tmp_path) not in str(summary)
    assert "refiner" not in load_estimator(raw).metadata["training"]


def test_a_changed_refiner_is_refused_and_more_steps_are_not(tiny_gaze: GazeConfiguration, tmp_path: Path) -> None:
    path, run = save(tmp_path / "r.safetensors"), tmp_path / "run"
    configuration = changed(tiny_gaze, augmentation={"refiner": path})
    train_estimator(configuration, run, device="cpu")
    train_estimator(changed(configuration, steps=12), run, device="cpu")
    architecture = load_refiner(path).architecture
    assert isinstance(architecture, FourierArchitecture)
    # The same amplitudes with another range of windows are another refiner.
    other = load_refiner(path).network()
    other.architecture = FourierArchitecture(1, len(REALS), SIZE, (0.2, 0.3))
    save_refiner(path, other, training={"configuration": {"size": list(SIZE)}})
    with pytest.raises(RunError, match=r"was started with other weights of augmentation\.refiner"):
        train_estimator(changed(configuration, steps=14), run, device="cpu")


def test_unfit_refiners_are_refused_before_the_run_folder_exists(tiny_gaze: GazeConfiguration, tmp_path: Path) -> None:
    colour = save(tmp_path / "colour.safetensors", channels=3)
    large = {
        method: save(tmp_path / f"{method}.safetensors", method, size=(36, 60)) for method in ("fourier", "network")
    }
    cases = {
        colour: r"colour\.safetensors refines images with colours, but estimators see grey images",
        large["fourier"]: "made for images of 36x60, but size is 16x24; .* size=36x60",
        large["network"]: "made for images of 36x60, but size is 16x24",
        tmp_path / "absent.safetensors": r"absent\.safetensors",
    }
    for path, reason in cases.items():
        configuration = changed(tiny_gaze, augmentation={"refiner": path})
        with pytest.raises(WrongInputError, match=f"augmentation.refiner: .*{reason}"):
            train_estimator(configuration, tmp_path / "run", device="cpu")
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"augmentation\.refiner: .*damaged"):
        load_batch_refiner(changed(tiny_gaze, augmentation={"refiner": tmp_path / "damaged.safetensors"}))
    assert not (tmp_path / "run").exists()
    assert load_batch_refiner(tiny_gaze) is None


def test_settings_that_would_have_no_effect_are_refused(tiny_gaze: GazeConfiguration, tmp_path: Path) -> None:
    from refiner.config.yaml_files import read_configuration, write_configuration

    file = tmp_path / "gaze.yaml"
    file.write_text(write_configuration(tiny_gaze))
    for overrides, reason in {
        ("augmentation.refined_share=0.5",): "refined_share is 0.5, but no refiner is set",
        ("augmentation.refiner=r.safetensors", "network=knn"): "augmentation.refiner refines batches, but network knn",
        ("augmentation.refined_share=1.5",): "refined_share",
    }.items():
        with pytest.raises((ConfigurationError, UsageError), match=reason):
            read_configuration(file, GazeConfiguration, overrides=list(overrides))
