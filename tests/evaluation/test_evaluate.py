"""Planted refiners through the whole evaluation: the bad are refused for what is wrong with them, a good one passes."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor
from torch.nn import functional

from refiner.commands import main
from refiner.core.errors import DataError, UsageError
from refiner.core.rng import torch_generator
from refiner.data.drift.regions import LabelRegion
from refiner.data.labels.tables import write_labels
from refiner.data.output.records_writer import write_folder
from refiner.evaluation.evaluate import Evaluation, Settings, evaluate
from refiner.evaluation.measurement import Metric
from refiner.evaluation.samples import read_sample
from refiner.evaluation.utility import train_estimators
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.target_camera import TargetCamera, target_parameters
from refiner.images.arrays import to_uint8
from refiner.images.io import read_image, write_image
from refiner.inference.jobs.refine import refine_path
from refiner.inference.refiner import Refiner
from refiner.metrics.two_sample import classify
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

SYNTHETIC, REAL = 200, 400


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``synthetic``, labelled, and ``real``, by the simulated target camera."""
    root = tmp_path_factory.mktemp("evaluation")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the function-scoped fixture does
    try:
        for name, count, parameters, camera, seed in (
            ("synthetic", SYNTHETIC, EyeParameters(), None, 7),
            ("real", REAL, target_parameters(), TargetCamera(1), 11),
        ):
            records = rendered_records(parameters, count, seed=seed, camera=camera)
            write_folder(root / name, records, count, labelled=True, report=lambda done, total: None)
    finally:
        torch.set_num_threads(threads)
    return root


def pictures(folder: Path) -> Tensor:
    images = np.stack([read_image(path) for path in sorted(folder.glob("*.png"))])
    return torch.from_numpy(images[:, None].astype(np.float32) / 127.5 - 1)


def shifted(images: Tensor, rows: int) -> Tensor:
    return functional.pad(images, (0, 0, rows, 0), mode="replicate")[..., : images.shape[2], :]


def planted(name: str, data: Path) -> Tensor:
    """What a refiner of some kind makes of the renders."""
    synthetic = pictures(data / "synthetic")
    refined = Refiner.load("demo", device="cpu")(synthetic)
    noise = 0.02 * torch.randn(synthetic.shape, generator=torch_generator(0, "noise"))
    return {
        "good": refined,
        "collapsed": refined[:1] + noise,
        "moving": shifted(refined, 2),
        "memorizing": pictures(data / "real")[:SYNTHETIC],
        "half-swapped": torch.cat([refined[:30].roll(1, dims=0), refined[30:]]),
    }[name]


def write(folder: Path, images: Tensor) -> Path:
    for number, image in enumerate(images.numpy()):
        write_image(folder / f"{number:06d}.png", to_uint8(image))
    return folder


def judged(data: Path, refined: Path, **options: object) -> Evaluation:
    return evaluate(data / "synthetic", refined, data / "real", Settings(device="cpu", **options))


@pytest.fixture
def quick_c2st(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classifiers that learn for a moment: they take most of the time, and here other metrics decide."""
    monkeypatch.setattr("refiner.evaluation.realism.classify", functools.partial(classify, steps=5))


@pytest.mark.usefixtures("quick_c2st")
@pytest.mark.parametrize(
    ("name", "decision", "reason"),
    [
        ("collapsed", "do not use", "outputs collapse"),
        ("moving", "do not use", "in the same direction in all images"),
        ("memorizing", "do not use", "copies real images"),
        ("half-swapped", "use with rejection", "Refine with --max-drift 1"),
    ],
)
def test_a_planted_refiner_is_found_out(name: str, decision: str, reason: str, data: Path, tmp_path: Path) -> None:
    verdict = judged(data, write(tmp_path / name, planted(name, data))).verdict
    assert verdict.decision == decision
    assert reason in " ".join(verdict.reasons)


@pytest.mark.usefixtures("quick_c2st")
def test_a_refiner_of_rgb_is_judged_by_the_luma_of_what_it_makes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same by its file as by the images it makes; in blocks, the last one smaller."""
    architecture = {"channels": 3, "features": 4, "blocks": 1, "output": "residual"}
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(**architecture))
    torch.nn.init.normal_(network.head.weight, std=0.05)
    save_refiner(tmp_path / "rgb.safetensors", network, training={})
    monkeypatch.setattr("refiner.evaluation.pairs.refined.COLOUR_BATCH", 96)
    colours = tmp_path / "colours"
    records = rendered_records(EyeParameters(), SYNTHETIC, seed=1, channels=3)
    write_folder(colours, records, SYNTHETIC, labelled=True, report=lambda done, total: None)
    refine_path(colours, tmp_path / "refined", tmp_path / "rgb.safetensors", device="cpu")
    found = [
        evaluate(colours, refined, data / "real", Settings(device="cpu"))
        for refined in (tmp_path / "rgb.safetensors", tmp_path / "refined")
    ]
    assert torch.equal(found[0].refined, found[1].refined)
    assert not torch.equal(found[0].refined, found[0].synthetic)
    assert found[0].drifts == found[1].drifts


def test_a_good_refiner_passes_by_its_file_as_by_its_images(
    data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = judged(data, Path("demo"))
    assert found.verdict.decision == "use"
    metrics = {metric.key: metric for metric in found.metrics}
    assert metrics["sliced_wasserstein"].gain is not None
    assert metrics["sliced_wasserstein"].gain.low > 0
    assert metrics["moved"].value.mean < 0.5
    c2st = metrics["c2st_accuracy"]
    assert c2st.reference is not None
    assert c2st.reference.low < 0.5 < c2st.reference.high  # real images against real images of other people
    request.getfixturevalue("quick_c2st")
    by_images = judged(data, write(tmp_path / "good", planted("good", data)))
    assert by_images.verdict.decision == "use"
    assert (by_images.refined - found.refined).abs().max() <= 0.5 / 127.5 + 1e-6  # images are rounded
    assert by_images.drifts.keys() == found.drifts.keys()


@pytest.mark.usefixtures("quick_c2st")
def test_the_gate_exits_with_3_for_a_refiner_that_changes_nothing(data: Path) -> None:
    arguments = [f"--synthetic={data / 'synthetic'}", f"--real={data / 'real'}", "--device=cpu", "--json"]
    result = CliRunner().invoke(main, ["evaluate", *arguments, f"--refined={data / 'synthetic'}", "--gate"])
    assert result.exit_code == 3, result.output
    verdict = json.loads(result.stdout)["verdict"]
    assert verdict["decision"] == "do not use"
    assert "The refiner changes nothing" in " ".join(verdict["reasons"])


@pytest.mark.parametrize("places", ["outside", "missing"])
def test_images_unrelated_to_renders_do_not_pass_because_no_point_can_be_followed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: str
) -> None:
    monkeypatch.setattr("refiner.evaluation.evaluate.measure_realism", lambda *images, **options: [])
    monkeypatch.setattr("refiner.evaluation.features.STEPS", 5)
    corner = {"outside": np.array([400.0, -20.0]), "missing": np.array([[np.nan, np.nan]])}[places]
    synthetic = write(tmp_path / "synthetic", pictures(data / "synthetic"))
    write_labels(synthetic / "labels.csv", {f"{n:06d}.png": {"corner": corner} for n in range(SYNTHETIC)})
    swapped = write(tmp_path / "swapped", planted("good", data).roll(1, dims=0))
    arguments = [f"--synthetic={synthetic}", f"--real={data / 'real'}", f"--refined={swapped}", "--points=corner"]
    result = CliRunner().invoke(main, ["evaluate", *arguments, "--gate", "--device=cpu"])
    assert result.exit_code == 3, result.output
    assert "verdict: do not use" in result.stdout
    assert "The drift of 100.0% of the images is unknown: no labelled point lies in the image" in result.stdout


def test_labels_that_are_no_points_are_refused(data: Path, tmp_path: Path) -> None:
    synthetic = write(tmp_path / "synthetic", pictures(data / "synthetic")[:70])
    write_labels(synthetic / "labels.csv", {f"{n:06d}.png": {"tag": "left", "age": 3} for n in range(70)})
    for label, what in (("tag", "text such as 'left'"), ("age", "numbers such as '3'")):
        with pytest.raises(UsageError, match=f"label '{label}' of .*synthetic holds {what}; --points needs x and y"):
            evaluate(synthetic, synthetic, data / "real", Settings(region=LabelRegion(label), device="cpu"))


def test_points_follow_renders_that_are_resized(tmp_path: Path) -> None:
    """Renders of several sizes are brought to that of the first, and their points with them."""
    for number, scale in enumerate((1, 2, 3)):
        write_image(tmp_path / f"{number}.png", np.zeros((20 * scale, 30 * scale), np.uint8))
    places = {f"{n}.png": np.array([4.0, 6.0]) * (n + 1) + n / 2 for n in range(3)}
    write_labels(
        tmp_path / "labels.csv",
        {name: {"corner": at, "tip_x": str(at[0]), "tip_y": str(at[1])} for name, at in places.items()},
    )
    for label in ("corner", "tip"):
        sample = read_sample(tmp_path, size=None, most=3, seed=0, points=LabelRegion(label).names)
        watched = [LabelRegion(label).watched("", row, (20, 30))[label] for row in sample.labels]
        assert np.allclose(watched, [4, 6])


def test_estimators_are_trained_where_they_are_asked_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refiner.evaluation.tasks.train_estimators", functools.partial(train_estimators, steps=2))
    # realism is tested above, and slow
    measured: list[dict[str, object]] = []

    def measure_nothing(*images: object, **options: object) -> list[Metric]:
        measured.append(options)
        return []

    monkeypatch.setattr("refiner.evaluation.evaluate.measure_realism", measure_nothing)
    plain = write(tmp_path / "plain", pictures(data / "real")[:5])
    with pytest.raises(DataError, match="gaze: none of the 5 images has a gaze label, but 16 are needed; points:"):
        judged(data, Path("demo"), most=200, labelled=plain)
    assert measured == []  # said before the work
    asked: tuple[tuple[dict[str, object], set[str]], ...] = (
        ({}, set()),
        ({"estimators": True}, {"disagreement"}),
        ({"labelled": data / "synthetic"}, {"gaze_error", "disagreement"}),
    )
    for options, wanted in asked:
        metrics = judged(data, Path("demo"), most=200, **options).metrics
        assert {metric.key for metric in metrics if metric.family == "utility"} == wanted
        assert all(metric.gain is not None for metric in metrics if metric.family == "utility")


def test_what_is_missing_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = write(tmp_path / "few", pictures(data / "synthetic")[:50])
    with pytest.raises(DataError, match="50 renders and 400 real images are too few for an interval; give at least 64"):
        judged(data, few)
    # A folder that lost some images is evaluated without them, and the status is that of a rejection.
    monkeypatch.setattr("refiner.evaluation.evaluate.measure_realism", lambda *images, **options: [])
    some = write(tmp_path / "some", planted("good", data)[:150])
    arguments = [f"--synthetic={data / 'synthetic'}", f"--real={data / 'real'}", "--device=cpu", f"--refined={some}"]
    result = CliRunner().invoke(main, ["evaluate", *arguments])
    assert result.exit_code == 4, result.output
    assert (
        "50 of 200 renders (25.0%) have no refined image: no reason is known for 50, such as 000150.png"
        in result.stdout
    )
    assert "000150.png: has no refined image" in result.stderr
    found = json.loads(CliRunner().invoke(main, ["evaluate", *arguments, "--json"]).stdout)
    assert found["images"] == 150
    assert found["missing"]["renders"] == 200
    assert len(found["missing"]["unexplained"]) == 50
