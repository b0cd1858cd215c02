"""Training with an adaptation before the network: its draws, its statistics, the file, and what is refused."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import RunError
from refiner.core.rng import BatchSlice
from refiner.images.io import read_image, write_image
from refiner.inference.refiner import Refiner
from refiner.models.adapted import AdaptedRefiner
from refiner.models.files.refiner_file import load_refiner
from refiner.runs.distributed import Processes
from refiner.training.batches import BatchSource
from refiner.training.inputs import load_inputs
from refiner.training.loop import RefinerTraining
from refiner.training.sample_sheet import write_sample_sheet
from refiner.training.selection import CheckpointSelector, scored_images
from refiner.training.statistics import fitted_adaptation
from refiner.training.train import train


@pytest.fixture(params=["fourier", "histogram"])
def configuration(request: pytest.FixtureRequest, tiny: TrainingConfiguration) -> TrainingConfiguration:
    """A run with an adaptation that shows at 8x12."""
    return configured(tiny, request.param)


def configured(tiny: TrainingConfiguration, adaptation: str) -> TrainingConfiguration:
    sections = {"fourier": {"beta": (0.1, 0.3)}, "histogram": {"blend": (0.2, 1)}}
    return TrainingConfiguration.model_validate({**tiny.model_dump(), "adaptation": adaptation, **sections})


def source(configuration: TrainingConfiguration, processes: Processes | None = None) -> BatchSource:
    inputs = load_inputs(configuration)
    adaptation = fitted_adaptation(configuration, inputs.domains["real"])
    return BatchSource(inputs, configuration, processes or Processes("cpu"), adaptation)


def plain(configuration: TrainingConfiguration) -> TrainingConfiguration:
    return configuration.model_copy(update={"adaptation": "none"})


def test_batches_are_adapted_by_draws_of_seed_position_and_place(
    configuration: TrainingConfiguration, synthetic: Path
) -> None:
    white = np.full((8, 12), 255, np.uint8)
    write_image(synthetic.parent / "mask.png", white)
    data = configuration.data.model_copy(update={"mask": synthetic.parent / "mask.png"})
    configuration = configuration.model_copy(update={"data": data})
    batches, raw = source(configuration), source(plain(configuration))
    adaptation = fitted_adaptation(configuration, load_inputs(configuration).domains["real"])
    assert adaptation is not None
    for position in range(5):
        (images, conditions), (renders, expected_conditions) = batches.draw("synthetic"), raw.draw("synthetic")
        draws = [hashlib.sha256(f"0/adaptation/{position}/{place}".encode()).digest() for place in range(6)]
        assert torch.equal(images, adaptation(renders, draws))
        assert not torch.equal(images, renders)
        # Real images and masks stay as they are.
        assert torch.equal(batches.draw("real")[0], raw.draw("real")[0])
        assert torch.equal(conditions["mask"], expected_conditions["mask"])
    # Other positions have other draws; the same position has the same ones.
    resumed = source(configuration)
    resumed.load_state_dict(batches.state_dict())
    following = batches.draw("synthetic")[0]
    assert torch.equal(resumed.draw("synthetic")[0], following)


def test_processes_share_the_draws_of_a_batch(
    configuration: TrainingConfiguration, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = source(configuration).draw("synthetic")[0]
    parts = []
    for start in (0, 3):
        processes = Processes("cpu")
        monkeypatch.setattr(processes, "batch_slice", lambda size, start=start: BatchSlice(start, size // 2, size))
        parts.append(source(configuration, processes).draw("synthetic")[0])
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)


def test_the_file_holds_the_statistics_and_the_trained_network(
    configuration: TrainingConfiguration, tmp_path: Path
) -> None:
    kind = configuration.adaptation
    file = load_refiner(train(configuration, tmp_path / "run", device="cpu"))
    statistics = load_refiner(
        train(plain(configuration).model_copy(update={"method": kind}), tmp_path / "statistics", device="cpu")
    )
    for name, values in statistics.weights.items():
        assert np.array_equal(file.weights[f"adaptation.{name}"], values)
    # The network was trained on adapted renders: its weights are others than without.
    alone = load_refiner(train(plain(configuration), tmp_path / "plain", device="cpu"))
    assert {name.removeprefix("network.") for name in file.weights if name.startswith("network.")} == set(alone.weights)
    assert any(not np.array_equal(file.weights[f"network.{name}"], values) for name, values in alone.weights.items())
    # Each file states the settings that matter to it.
    summary, without = (part.metadata["training"]["configuration"] for part in (file, alone))
    assert summary["adaptation"] == kind
    assert kind in summary
    assert {"fourier", "histogram"} - {kind} == {"fourier", "histogram"} - set(summary)
    assert not {"adaptation", "fourier", "histogram"} & set(without)


def test_scores_and_samples_show_what_the_file_refines(configuration: TrainingConfiguration, tmp_path: Path) -> None:
    # The sheet of the last step.
    file = train(configuration, tmp_path / "last", device="cpu")
    domains = load_inputs(configuration).domains
    write_sample_sheet(tmp_path / "sheets", 11, domains, Refiner.load(file, device="cpu").refine_tensor)
    sheets = [
        read_image(folder / "step-00000011.png") for folder in (tmp_path / "last" / "samples", tmp_path / "sheets")
    ]
    assert np.abs(sheets[0].astype(int) - sheets[1]).max() <= 1
    # The lowest score, whose weights the file holds.
    file = train(configuration.model_copy(update={"score_every": 2}), tmp_path / "scored", device="cpu")
    selector = CheckpointSelector(scored_images(domains, seed=0), seed=0)
    found = selector.update(Refiner.load(file, device="cpu").refine_tensor(selector.synthetic), {}, step=0)
    lines = [json.loads(line) for line in (tmp_path / "scored" / "metrics.jsonl").read_text().splitlines()]
    assert found["score"] == pytest.approx(min(line["score"] for line in lines if "score" in line), abs=1e-4)


def test_a_run_starts_from_networks_with_and_without_the_adaptation(
    tiny: TrainingConfiguration, tmp_path: Path
) -> None:
    adapted = configured(tiny, "fourier")
    still = {"steps": 0, "pretraining": tiny.pretraining.model_copy(update={"refiner_steps": 0})}
    files = {name: train(each, tmp_path / name, device="cpu") for name, each in (("plain", tiny), ("adapted", adapted))}
    for name, file in files.items():
        train(adapted.model_copy(update=still), tmp_path / f"from {name}", device="cpu", start_from=file)
        module = load_refiner(tmp_path / f"from {name}").network()
        first = load_refiner(file).network()
        assert isinstance(module, AdaptedRefiner)
        expected = first.network if isinstance(first, AdaptedRefiner) else first
        for key, weight in expected.state_dict().items():
            assert torch.equal(module.network.state_dict()[key], weight)
    # Other adaptations, none, and other networks are refused.
    wider = adapted.model_copy(update={"fourier": adapted.fourier.model_copy(update={"beta": (0.1, 0.5)})})
    smaller = adapted.model_copy(update={"refiner": tiny.refiner.model_copy(update={"features": 3})})
    for number, (other, name) in enumerate(
        [(tiny, "adapted"), (configured(tiny, "histogram"), "adapted"), (wider, "adapted"), (smaller, "plain")]
    ):
        words = "another architecture .*set " + ("adaptation, its section" if name == "adapted" else "channels")
        with pytest.raises(RunError, match=words):
            train(other, tmp_path / str(number), device="cpu", start_from=files[name])


def test_a_run_keeps_its_adaptation(configuration: TrainingConfiguration, tmp_path: Path) -> None:
    train(configuration, tmp_path / "run", device="cpu")
    with pytest.raises(RunError, match=f"adaptation: {configuration.adaptation} -> none"):
        train(plain(configuration), tmp_path / "run", device="cpu")


def test_grey_levels_that_the_adaptation_matches_are_no_finding(
    tiny: TrainingConfiguration, real: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in real.iterdir():
        write_image(file, read_image(file) // 4)
    load_inputs(tiny)
    assert "histogram" in caplog.text
    caplog.clear()
    load_inputs(configured(tiny, "histogram"))
    assert "histogram" not in caplog.text


@pytest.mark.parametrize("method", ["fourier", "histogram", "pix2pix"])
def test_methods_without_unpaired_training_are_refused(method: str, tiny: TrainingConfiguration) -> None:
    with pytest.raises(ValueError, match=f"adaptation is fourier.*{method}.*adaptation: none"):
        TrainingConfiguration.model_validate({**tiny.model_dump(), "method": method, "adaptation": "fourier"})


def test_a_background_that_the_adaptation_changes_cannot_be_kept(tiny: TrainingConfiguration) -> None:
    section = {**tiny.refiner.model_dump(), "keep_background": True}
    with pytest.raises(ValueError, match=r"refiner\.keep_background .* but adaptation changes them"):
        TrainingConfiguration.model_validate({**tiny.model_dump(), "refiner": section, "adaptation": "histogram"})


def test_a_checkpoint_holds_no_statistics(configuration: TrainingConfiguration, tmp_path: Path) -> None:
    from refiner.runs.folder import RunFolder

    states = [
        RefinerTraining(each, RunFolder(tmp_path / name), load_inputs(each), device="cpu").state_dict()["method"]
        for name, each in (("a", configuration), ("b", plain(configuration)))
    ]
    assert states[0].keys() == states[1].keys()
    assert states[0]["refiner"].keys() == states[1]["refiner"].keys()
