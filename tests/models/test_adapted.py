"""An adaptation before a network: the values by an independent formula, and the file that holds both."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from refiner.core.errors import DataError
from refiner.inference.refiner import Refiner
from refiner.inspection.runs import inspect_refiner
from refiner.inspection.text import refiner_lines
from refiner.models.adapted import Adaptation, AdaptedRefiner, adapted_refiner
from refiner.models.architecture import AdaptedArchitecture, RefinerArchitecture
from refiner.models.files.model_card import CardTerms, model_card
from refiner.models.files.refiner_file import load_refiner, save_refiner
from refiner.models.modules import apply_module
from refiner.models.refiner import RefinerNetwork
from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner

SIZE = (10, 16)
REALS = np.random.default_rng(5).normal(0.4, 0.1, (8, *SIZE)).clip(0, 1)
BETA = (0.1, 0.4)
NETWORK = RefinerArchitecture(features=3, blocks=1, unshuffle=2, output="residual", max_change=0.5)


def both(kind: str = "fourier") -> AdaptedRefiner:
    adaptation: Adaptation
    if kind == "fourier":
        adaptation = FourierRefiner(FourierArchitecture(1, len(REALS), SIZE, BETA))
    else:
        adaptation = HistogramRefiner(HistogramArchitecture(1, len(REALS), blend=(0.3, 1)))
    adaptation.fit(0, torch.from_numpy(REALS[:, None] * 2 - 1))
    torch.manual_seed(0)
    network = RefinerNetwork(NETWORK)
    torch.nn.init.normal_(network.head.weight)
    return adapted_refiner(adaptation, network).eval()


def renders(count: int = 5) -> torch.Tensor:
    levels = np.random.default_rng(1).integers(60, 200, (count, 1, *SIZE))
    return torch.from_numpy((levels / 127.5 - 1).astype(np.float32))


def adapted(image: np.ndarray[Any, Any], draw: bytes) -> np.ndarray[Any, Any]:
    """Fourier domain adaptation of one image in [-1, 1] by its draw, with NumPy's transform."""
    real = REALS[int.from_bytes(draw[:8], "little") % len(REALS)]
    beta = BETA[0] + int.from_bytes(draw[8:14], "little") / 2**48 * (BETA[1] - BETA[0])
    rows, columns = (np.abs(np.fft.fftfreq(side, 1 / side)) for side in SIZE)
    inside = np.maximum(rows[:, None], columns[None]) <= int(min(SIZE) * beta)
    spectrum = np.fft.fft2((image + 1) / 2)
    amplitude = np.where(inside, np.abs(np.fft.fft2(real)), np.abs(spectrum))
    return np.asarray(np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum))).real * 2 - 1).clip(-1, 1)


@torch.no_grad()
def test_the_network_maps_what_the_adaptation_gives() -> None:
    refiner, images = both(), renders()
    draws = [hashlib.sha256(bytes([number])).digest() for number in range(len(images))]
    by_hand = np.stack([adapted(image[0].astype(float), draw) for image, draw in zip(images.numpy(), draws)])
    expected = refiner.network(torch.from_numpy(by_hand[:, None].astype(np.float32)))
    refined = apply_module(refiner, images, draws)
    assert torch.allclose(refined, expected, atol=1e-5)
    assert (refined - refiner.network(images)).abs().mean() > 0.05  # the adaptation matters
    assert (refined - refiner.adaptation(images, draws)).abs().mean() > 0.05  # so does the network
    # Without draws, they are the digests of the levels of the pixels.
    levels = ((images + 1) * 127.5).round().to(torch.uint8).numpy()
    of_pixels = [hashlib.sha256(image.tobytes()).digest() for image in levels]
    assert torch.equal(refiner(images), refiner(images, of_pixels))


@pytest.mark.parametrize("kind", ["fourier", "histogram"])
def test_a_file_holds_both_stages(kind: str, tmp_path: Path) -> None:
    refiner, path = both(kind), tmp_path / "refiner.safetensors"
    save_refiner(path, refiner, training={"step": 3})
    file = load_refiner(path)
    assert file.architecture == refiner.architecture
    assert file.metadata["format_version"] == 4  # packages that know only networks refuse it as newer
    stored = file.metadata["architecture"]
    assert stored["kind"] == "adapted"
    assert stored["adaptation"]["kind"] == kind
    assert stored["network"] == dataclasses.asdict(NETWORK)
    assert {name.split(".")[0] for name in file.weights} == {"adaptation", "network"}
    state = torch.get_rng_state()
    loaded = file.network()
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(renders()), refiner(renders()))
    save_refiner(tmp_path / "copy", loaded, training={"step": 3})
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_every_description_names_both_stages(tmp_path: Path) -> None:
    refiner, path = both(), tmp_path / "refiner.safetensors"
    save_refiner(path, refiner, training={"step": 3})
    summary = "low-frequency amplitudes of 8 real images, and a network of 3 features, 1 blocks"
    assert refiner.architecture.summary == summary
    assert repr(Refiner.load(path, device="cpu")).startswith(f"<Refiner of grey images: {summary}, weights of step 3;")
    text = "\n".join(refiner_lines(inspect_refiner(path)))
    for words in (summary, "adaptation.kind fourier", "network.unshuffle 2", "weights", "the whole image"):
        assert words in text
    count = sum(values.size for values in load_refiner(path).weights.values())
    card = model_card(load_refiner(path), CardTerms("mit"))
    assert f"An adaptation before a network: {summary}, {count:,} values, grey (adaptation.channels 1" in card


def test_the_properties_are_those_of_both_stages() -> None:
    architecture = both().architecture
    assert (architecture.channels, architecture.unshuffle, architecture.is_random) == (1, 2, True)
    assert architecture.reach is architecture.receptive_field is None  # no tiles
    parts = architecture.adaptation.multiplications(960), architecture.network.multiplications(960)
    assert architecture.multiplications(960) == sum(parts)
    shapes = {name: tuple(values.shape) for name, values in both().state_dict().items()}
    assert dict(architecture.shapes()) == shapes
    with pytest.raises(ValueError, match="channels are 3 and 1"):
        AdaptedArchitecture(FourierArchitecture(3), RefinerArchitecture())


@pytest.mark.parametrize(
    "changes",
    [
        {"network": None},
        {"adaptation": {"kind": "adapted"}},
        {"adaptation": {"kind": "network"}},
        {"network": {"kind": "fourier"}},
        {"adaptation": {"kind": "unknown"}},
        {"adaptation": {"kind": "fourier", "channels": 3}},
        {"third": {"kind": "fourier"}},
    ],
    ids=str,
)
def test_files_that_make_no_sense_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "refiner.safetensors"
    save_refiner(path, both(), training={})
    file = load_refiner(path)
    metadata = {**file.metadata, "architecture": {**file.metadata["architecture"], **changes}}
    path.write_bytes(safetensors.numpy.save(dict(file.weights), {"refiner": json.dumps(metadata)}))
    with pytest.raises(DataError, match="refiner metadata that cannot be used"):
        load_refiner(path)
