"""Methods that train no network: from data to a refiner file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import RunError, UsageError
from refiner.images.io import read_image
from refiner.inference.refiner import Refiner
from refiner.inspection.runs import inspect_run
from refiner.inspection.text import run_lines
from refiner.models.files.refiner_file import load_refiner, save_refiner
from refiner.models.statistics.histogram import HistogramRefiner
from refiner.training.train import train


@pytest.fixture(params=["fourier", "histogram"])
def method(request: pytest.FixtureRequest) -> str:
    """Each method."""
    return str(request.param)


def configured(tiny: TrainingConfiguration, method: str, examples: int = 500) -> TrainingConfiguration:
    section = getattr(tiny, method).model_copy(update={"examples": examples})
    return tiny.model_copy(update={"method": method, method: section})


def test_equal_runs_give_equal_files_and_a_repeated_one_resumes(
    tiny: TrainingConfiguration, method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configuration = configured(tiny, method)
    files = [train(configuration, tmp_path / name, device="cpu") for name in ("a", "b", "a")]
    assert len({file.read_bytes() for file in files}) == 1
    assert "histograms" not in caplog.text  # what the method mends is no problem
    with pytest.raises(RunError, match=r"fourier\.examples: 500 -> 3"):
        train(
            tiny.model_copy(update={"fourier": configured(tiny, "fourier", 3).fourier, "method": method}),
            tmp_path / "a",
        )
    text = "\n".join(run_lines(inspect_run(tmp_path / "a")))
    assert "no network is trained" in text
    assert "no problems found" in text
    assert load_refiner(tmp_path / "a").architecture.summary in text
    assert "of 17 real images" in text
    assert [sheet.name for sheet in (tmp_path / "a" / "samples").iterdir()] == ["step-00000000.png"]


def test_the_file_holds_the_statistics_of_the_real_images(
    tiny: TrainingConfiguration, real: Path, tmp_path: Path
) -> None:
    images = np.stack([read_image(file) for file in sorted(real.iterdir())]).astype(float)
    # Amplitudes: NumPy's, per pixel, of images in [0, 1].
    section = tiny.fourier.model_copy(update={"beta": (0.1, 0.3)})
    fourier = load_refiner(train(tiny.model_copy(update={"method": "fourier", "fourier": section}), tmp_path / "f"))
    spectrum = np.abs(np.fft.fft2(images / 255)) / 96
    rows = [-2, -1, 0, 1, 2]
    np.testing.assert_allclose(fourier.weights["amplitudes"][:, 0], spectrum[:, rows][..., :3], atol=1e-6)
    # Distributions: sorted values and the shares up to them, and the last repeated.
    histogram = load_refiner(train(configured(tiny, "histogram"), tmp_path / "h"))
    for image, values, shares in zip(
        images, *(histogram.weights[n][:, 0] for n in ("values", "probabilities")), strict=True
    ):
        found, counts = np.unique(image, return_counts=True)
        np.testing.assert_allclose(values[: len(found)], found / 127.5 - 1, atol=1e-6)
        np.testing.assert_allclose(shares[: len(found)], counts.cumsum() / 96, atol=1e-6)
        assert set(values[len(found) :]) <= {values[len(found) - 1]}


def test_examples_are_drawn_by_the_seed(tiny: TrainingConfiguration, method: str, tmp_path: Path) -> None:
    few = configured(tiny, method, examples=5)
    whole = load_refiner(train(configured(tiny, method), tmp_path / "whole")).weights
    found = []
    for seed in (0, 1):
        weights = load_refiner(train(few.model_copy(update={"seed": seed}), tmp_path / str(seed))).weights
        name = "amplitudes" if method == "fourier" else "values"
        rows = [
            int(np.flatnonzero((whole[name] == row).all(axis=(1, *range(2, row.ndim))))[0]) for row in weights[name]
        ]
        assert len(set(rows)) == 5
        found.append(rows)
    assert found[0] != found[1]


def test_what_only_networks_use_is_refused(tiny: TrainingConfiguration, method: str, tmp_path: Path) -> None:
    values = {**tiny.model_dump(), "method": method}
    for key, value in (("data", {"mask": "mask.png"}), ("augmentation", {"real": ["HorizontalFlip"]})):
        with pytest.raises(ValueError, match=rf"method {method} trains no network, so {key}.* would have no effect"):
            TrainingConfiguration.model_validate({**values, key: value})
    file = train(configured(tiny, method), tmp_path / "run")
    with pytest.raises(UsageError, match="--from starts from the weights of a network"):
        train(configured(tiny, method), tmp_path / "other", start_from=file)
    with pytest.raises(RunError, match="another architecture"):
        train(tiny, tmp_path / "another", start_from=file)
    with pytest.raises(ValueError, match=r"fourier\.beta is \[0\.2, 0\.1\]"):
        TrainingConfiguration.model_validate({"fourier": {"beta": [0.2, 0.1]}})


def test_a_file_survives_loading_and_saving(tiny: TrainingConfiguration, method: str, tmp_path: Path) -> None:
    file = train(configured(tiny, method), tmp_path / "run", device="cpu")
    refiner = load_refiner(file)
    assert refiner.metadata["format_version"] == 4  # older packages refuse what they cannot read
    save_refiner(tmp_path / "copy", refiner.network(), training=refiner.metadata["training"])
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()
    assert repr(Refiner.load(file, device="cpu")) == (
        f"<Refiner of grey images: {refiner.architecture.summary}; torch on cpu>"
    )
    # A network's file stays of version 3.
    network = load_refiner(train(tiny, tmp_path / "network", device="cpu"))
    assert network.metadata["format_version"] == 3
    assert "kind" not in network.metadata["architecture"]


def test_deep_images_keep_more_than_256_values(tmp_path: Path) -> None:
    from refiner.models.statistics.architecture import HistogramArchitecture

    levels = np.random.default_rng(1).permutation(2**16)[: 30 * 40].reshape(1, 1, 30, 40)
    refiner = HistogramRefiner(HistogramArchitecture())
    refiner.fit(0, torch.from_numpy(levels / 32767.5 - 1))
    rendered = torch.from_numpy(np.linspace(-1, 1, 1200).reshape(1, 1, 30, 40))
    expected = np.sort(levels, axis=None) / 32767.5 - 1
    assert np.abs(refiner(rendered).numpy().ravel() - expected).max() < 0.02  # 256 ranks of 1,200
