"""The loop as a whole: killed and resumed equals uninterrupted, refusals, warnings, what is written."""

import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import write_configuration
from refiner.core.errors import DataError, DeviceError, RunError, TrainingError
from refiner.core.locks import locked
from refiner.data import domains as data
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.gaze.networks.estimators import GazeNetwork
from refiner.gaze.networks.file import load_estimator, save_estimator
from refiner.images.io import write_image
from refiner.models.files.refiner_file import load_refiner
from refiner.runs.checkpoints import list_checkpoints
from refiner.runs.folder import CLOCK_COLUMNS, open_run
from refiner.training import loop
from refiner.training.batches import BatchSource
from refiner.training.inputs import load_inputs
from refiner.training.methods.simgan import SimGAN
from refiner.training.train import train


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCK_COLUMNS} for row in rows]


def final_state(run: Path) -> dict[str, Any]:
    return torch.load(list_checkpoints(run / "checkpoints")[-1], weights_only=True)


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def assert_same_run(first: Path, second: Path) -> None:
    assert (first / "refiner.safetensors").read_bytes() == (second / "refiner.safetensors").read_bytes()
    assert metrics(first) == metrics(second)
    assert equal(final_state(first), final_state(second))


class Killed(BaseException):
    """Stands for a kill between two steps: nothing catches it, nothing is saved."""


@pytest.mark.parametrize("at", range(1, 11))
def test_killed_after_any_step_and_resumed_equals_uninterrupted(
    at: int, tiny: TrainingConfiguration, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(tiny, whole, device="cpu")

    def kill(step: int, steps: int, means: dict[str, float]) -> None:
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        train(tiny, broken, device="cpu", report=kill)
    torch.rand(5)  # the world goes on: the resumed run must not depend on it
    train(tiny, broken, device="cpu")
    assert_same_run(whole, broken)


@pytest.mark.parametrize(
    "option",
    [
        {"score_every": 2, "motion_weight": 1.0},
        {"discriminator": {"scope": "global"}},
        {"discriminator": {"augmentation": {"translation": 0.25, "cutout": 0.5, "brightness": 0.5, "contrast": 0.5}}},
        {"discriminator": {"r1_weight": 1.0, "r1_every": 2}},
        {"discriminator": {"spectral_norm": True}},
        {"discriminator": {"scope": "global", "spectral_norm": True, "r1_weight": 1.0}, "precision": "bf16"},
        {"objective": "hinge", "discriminator": {"layers": "dcgan"}},
        {"objective": "wasserstein", "discriminator": {"gradient_penalty": 10.0}},
        {"self_regularization": "gradients"},
        {"self_regularization": "blurred"},
        {"self_regularization": "channel_mean", "channels": 3},
        {"history_size": 0, "self_regularization_weight": 0.0},
        {"method": "cyclegan", "augmentation": {"real": ["HorizontalFlip"]}},
        {"method": "cut", "objective": "least_squares"},
        {"method": "pix2pix"},
        {"adaptation": "fourier", "fourier": {"beta": [0.1, 0.3]}, "score_every": 2},
        {"adaptation": "histogram", "method": "cyclegan"},
        {"adaptation": "fourier", "method": "cut"},
        {"discriminator": {"batch_norm": True}},
    ],
    ids=str,
)
def test_every_option_resumes_to_the_same_bits_and_makes_a_difference(
    option: dict[str, Any], tiny: TrainingConfiguration, tmp_path: Path
) -> None:
    """Killed while pre-training and while playing, between checkpoints."""
    options = {**option, "discriminator": {"width": 0.25, **option.get("discriminator", {})}}
    changed = TrainingConfiguration.model_validate({**tiny.model_dump(), **options})
    whole, broken, plain = (tmp_path / name for name in ("whole", "broken", "plain"))
    for run, configuration in ((whole, changed), (plain, tiny)):
        train(configuration, run, device="cpu")
    for at in (4, 8):

        def kill(step: int, steps: int, means: dict[str, float], at: int = at) -> None:
            if step == at:
                raise Killed

        with pytest.raises(Killed):
            train(changed, broken, device="cpu", report=kill)
    train(changed, broken, device="cpu")
    assert_same_run(whole, broken)
    assert metrics(whole)[-1] != metrics(plain)[-1]
    assert ("r1" in metrics(whole)[-1]) == (changed.discriminator.r1_weight > 0)


def write_estimator(path: Path, size: tuple[int, int]) -> Path:
    network = GazeNetwork("small", size)
    architecture = {"network": "small", "size": list(size), "head_pose": False, "standardize": False}
    save_estimator(path, network.state_dict(), architecture=architecture, equalize=True, mean_gaze=(0, 0), training={})
    return path


@pytest.mark.parametrize("psi", ["pixels", "features"])
def test_a_run_that_reads_labels_and_a_mask_resumes_to_the_same_bits(
    psi: str, tiny: TrainingConfiguration, gazes: Path, other_gazes: Path, tmp_path: Path
) -> None:
    mask = np.zeros((16, 24), np.uint8)
    mask[4:12, 6:18] = 255
    write_image(tmp_path / "mask.png", mask)
    data = {"synthetic": gazes, "real": other_gazes, "mask": tmp_path / "mask.png" if psi == "pixels" else None}
    data["estimator"] = write_estimator(tmp_path / "estimator.safetensors", (16, 24))
    changes = {"size": [16, 24], "self_regularization": psi, "data": data}
    changes["discriminator"] = {"width": 0.25, "condition": "gaze" if psi == "pixels" else "none"}
    configuration = TrainingConfiguration.model_validate({**tiny.model_dump(), **changes})

    def kill(step: int, steps: int, means: dict[str, float]) -> None:
        if step == 8:
            raise Killed

    train(configuration, tmp_path / "whole", device="cpu")
    with pytest.raises(Killed):
        train(configuration, tmp_path / "broken", device="cpu", report=kill)
    train(configuration, tmp_path / "broken", device="cpu")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    write_image(tmp_path / "mask.png", 255 - mask)
    if psi == "pixels":
        with pytest.raises(RunError, match="synthetic"):
            train(configuration, tmp_path / "whole", device="cpu")


def test_a_consistent_run_resumes_to_the_same_bits_and_keeps_its_estimator(
    tiny: TrainingConfiguration, tmp_path: Path
) -> None:
    network = GazeNetwork("small", tiny.size)
    architecture = {"network": "small", "size": list(tiny.size), "head_pose": False, "standardize": False}
    estimator = tmp_path / "estimator.safetensors"

    def save() -> None:
        save_estimator(
            estimator, network.state_dict(), architecture=architecture, equalize=True, mean_gaze=(0, 0), training={}
        )

    def kill_late(step: int, steps: int, means: dict[str, float]) -> None:
        if step == 8:
            raise Killed

    save()
    data = tiny.data.model_copy(update={"estimator": estimator})
    consistent = tiny.model_copy(update={"data": data})
    whole, broken, plain = (tmp_path / name for name in ("whole", "broken", "plain"))
    for run, configuration in ((whole, consistent), (plain, tiny)):
        train(configuration, run, device="cpu")
    with pytest.raises(Killed):
        train(consistent, broken, device="cpu", report=kill_late)
    train(consistent, broken, device="cpu")
    assert_same_run(whole, broken)
    assert metrics(whole)[-1]["consistency"] > 0
    assert "consistency" not in metrics(plain)[-1]
    trained, unheld = (load_refiner(run).metadata["training"] for run in (whole, plain))
    assert trained["estimator"] == load_estimator(estimator).digest()
    assert trained["configuration"]["consistency_weight"] == 20
    assert "estimator" not in unheld
    assert "consistency_weight" not in unheld["configuration"]
    torch.nn.init.normal_(network.last.weight)
    save()
    with pytest.raises(RunError, match=r"other weights of data\.estimator"):
        train(consistent, broken, device="cpu")


def test_sigkill_at_random_moments(
    tiny: TrainingConfiguration, tmp_path: Path, start_python: Callable[..., BaseProcess]
) -> None:
    """The real thing: a process, two SIGKILLs, the same command."""
    file = tmp_path / "tiny.yaml"
    slow = tiny.model_copy(update={"steps": 60, "checkpoint_every": 7})
    file.write_text(write_configuration(slow), encoding="utf-8")
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def start(run: Path) -> BaseProcess:
        arguments = ["train", str(file), "--device", "cpu", "--run", str(run)]
        return start_python(f"from refiner.commands import main; main({arguments!r})")

    complete = start(whole)
    for attempt in range(2):
        process = start(broken)
        deadline, target = time.monotonic() + 60, 14 * (attempt + 1)
        while process.is_alive() and time.monotonic() < deadline:
            steps = [int(path.stem[5:]) for path in list_checkpoints(broken / "checkpoints")]
            if steps and steps[-1] >= target:
                break
            time.sleep(0.003)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    resumed = start(broken)
    for process in (complete, resumed):
        process.join()
        assert process.exitcode == 0
    assert_same_run(whole, broken)


def test_sigterm_finishes_the_step_saves_and_says_so(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    def stop(step: int, steps: int, means: dict[str, float]) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunError, match=r"stopped at step 5 of 11; the same command resumes"):
        train(tiny, tmp_path / "broken", device="cpu", report=stop)
    train(tiny, tmp_path / "broken", device="cpu")
    train(tiny, tmp_path / "whole", device="cpu")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_run_explains_itself(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    run = tmp_path / "run"
    file = train(tiny, run, device="cpu")
    assert file == run / "refiner.safetensors"
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == ["step-00000009.pt", "step-00000011.pt"]
    assert {path.name for path in (run / "samples").iterdir()} == {f"step-{s:08d}.png" for s in (0, 4, 8, 11)}
    assert list(run.glob("events.out.tfevents.*"))
    facts = json.loads((run / "environment.json").read_text())
    assert facts["precision"] == "fp32"
    assert facts["processor"]["name"]
    assert [row["step"] for row in metrics(run)] == [2, 4, 6, 8, 10, 11]
    assert load_refiner(file).metadata["training"]["step"] == 11


def test_phases_follow_the_schedule(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    """Three steps of the refiner alone, two of the discriminator alone, then K_g and K_d a step."""
    played = tiny.model_copy(update={"refiner_updates": 3, "discriminator_updates": 2, "log_every": 1})
    train(played, tmp_path / "run", device="cpu")
    rows = metrics(tmp_path / "run")
    assert [("adversarial" in row, "discriminator_loss" in row) for row in rows] == (
        [(False, False)] * 3 + [(False, True)] * 2 + [(True, True)] * 6
    )
    seen = final_state(tmp_path / "run")["batches_seen"]
    assert seen == {"synthetic": 3 + 2 + 6 * 5, "real": 2 + 6 * 2, "real for refiner": 0}


def test_logged_means_are_the_means_of_the_steps(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    train(tiny.model_copy(update={"log_every": 1}), tmp_path / "each", device="cpu")
    train(tiny.model_copy(update={"log_every": 3}), tmp_path / "mean", device="cpu")
    each, mean = metrics(tmp_path / "each"), metrics(tmp_path / "mean")
    for name in ("adversarial", "change", "discriminator_loss"):
        steps = [row[name] for row in each if 6 < row["step"] <= 9]
        assert mean[2][name] == pytest.approx(sum(steps) / 3, rel=1e-4)


def test_a_finished_run_is_left_alone(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    file = train(tiny, tmp_path / "run", device="cpu")
    before = file.read_bytes(), metrics(tmp_path / "run")
    train(tiny, tmp_path / "run", device="cpu", report=lambda *_: pytest.fail("took a step"))
    assert (file.read_bytes(), metrics(tmp_path / "run")) == before


@pytest.mark.parametrize("option", [{}, {"score_every": 2}, {"method": "cyclegan", "history_size": 12}], ids=str)
def test_a_finished_run_continues_for_more_steps(
    option: dict[str, Any], tiny: TrainingConfiguration, tmp_path: Path
) -> None:
    """To the bits of a run that had them from the start."""
    short = tiny.model_copy(update={**option, "log_every": 1})
    longer = short.model_copy(update={"steps": 11})
    train(short, tmp_path / "continued", device="cpu")
    train(longer, tmp_path / "continued", device="cpu")
    train(longer, tmp_path / "whole", device="cpu")
    if option.get("score_every"):  # the short run scored its last step, which the long one passes by
        assert final_state(tmp_path / "continued")["step"] == 16
    else:
        assert_same_run(tmp_path / "continued", tmp_path / "whole")
    with pytest.raises(RunError, match=r"steps: 11 -> 6.*Only steps may grow"):
        train(short, tmp_path / "continued", device="cpu")
    with pytest.raises(RunError, match=r"seed: 0 -> 1"):
        train(longer.model_copy(update={"steps": 20, "seed": 1}), tmp_path / "continued", device="cpu")


def test_a_changed_configuration_is_refused_naming_the_key(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run", device="cpu")
    changed = tiny.model_copy(update={"self_regularization_weight": 1.5})
    with pytest.raises(RunError, match=r"self_regularization_weight: 7\.6 -> 1\.5.*--new.*--from"):
        train(changed, tmp_path / "run", device="cpu")
    train(changed, tmp_path / "run", device="cpu", new=True)
    summary = load_refiner(tmp_path / "run").metadata["training"]["configuration"]
    assert summary["self_regularization_weight"] == 1.5


def test_starting_from_another_refiner(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    first = train(tiny, tmp_path / "first", device="cpu")
    still = {"steps": 0, "pretraining": tiny.pretraining.model_copy(update={"refiner_steps": 0})}
    train(tiny.model_copy(update=still), tmp_path / "second", device="cpu", start_from=first)
    weights = [load_refiner(tmp_path / name).network().state_dict() for name in ("first", "second")]
    assert equal(*weights)
    other = tiny.model_copy(update={"refiner": tiny.refiner.model_copy(update={"features": 3})})
    with pytest.raises(RunError, match="another architecture"):
        train(other, tmp_path / "third", device="cpu", start_from=first)


def test_two_processes_in_one_run_are_refused(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    with locked(tmp_path / "run" / ".lock", refusal=""), pytest.raises(RunError, match="another process is training"):
        train(tiny, tmp_path / "run", device="cpu")


def test_nan_stops_with_the_step_and_the_cause(
    tiny: TrainingConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = BatchSource.draw

    def poisoned(self: BatchSource, domain: str, order: str | None = None) -> Any:
        images, conditions = draw(self, domain, order)
        # Step 7 is the second adversarial step: three of the refiner, two of the discriminator, two draws in step 6.
        poison = domain == "synthetic" and self.batches_seen["synthetic"] == 3 + 2 + 2 + 1
        return images * float("nan") if poison else images, conditions

    monkeypatch.setattr(BatchSource, "draw", poisoned)
    with pytest.raises(TrainingError, match=r"step 7: the loss is not finite \(self_regularization nan.*lower"):
        train(tiny, tmp_path / "run", device="cpu")
    assert all(torch.isfinite(value).all() for value in load_refiner(tmp_path / "run").network().state_dict().values())


def test_missing_data_is_named(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    unset = tiny.model_copy(update={"data": tiny.data.model_copy(update={"real": None})})
    with pytest.raises(DataError, match=r"data\.real.*DIR"):
        train(unset, tmp_path / "run", device="cpu")


def test_preflight_can_refuse(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    large = {"batch_size": 20, "history_size": 10, "data": tiny.data.model_copy(update={"preflight": "refuse"})}
    with pytest.raises(DataError, match="17 real images, fewer than one batch of 20"):
        train(tiny.model_copy(update=large), tmp_path / "run", device="cpu")


def test_precision_and_threads_are_read_back(
    tiny: TrainingConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial on resume could choose otherwise; it must not be held."""
    automatic = tiny.model_copy(update={"precision": "auto"})
    monkeypatch.setattr(loop, "choose_precision", lambda *_: "bf16")
    with pytest.raises(Killed):
        train(automatic, tmp_path / "run", device="cpu", report=_kill)
    monkeypatch.setattr(loop, "choose_precision", lambda *_: pytest.fail("tried again"))
    train(automatic, tmp_path / "run", device="cpu")
    assert load_refiner(tmp_path / "run").metadata["training"]["precision"] == "bf16"


def _kill(step: int, steps: int, means: dict[str, float]) -> None:
    raise Killed


def test_killed_between_checkpoint_and_refiner_file(
    tiny: TrainingConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(tiny, whole, device="cpu")
    save = SimGAN.save

    def killed(self: SimGAN, path: Path, *, step: int, weights: Any = None) -> None:
        if step == tiny.total_steps:
            raise Killed
        save(self, path, step=step, weights=weights)

    monkeypatch.setattr(SimGAN, "save", killed)
    with pytest.raises(Killed):
        train(tiny, broken, device="cpu")
    monkeypatch.undo()
    train(tiny, broken, device="cpu")
    assert_same_run(whole, broken)


def test_a_mistake_costs_nothing(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    """Neither a run that is there with --new, nor the right command after a wrong one."""
    run = tmp_path / "run"
    wrong = tiny.model_copy(update={"data": tiny.data.model_copy(update={"synthetic": tmp_path / "rendres"})})
    with pytest.raises(DataError, match="rendres"):
        train(wrong, run, device="cpu")
    file = train(tiny, run, device="cpu")
    before = file.read_bytes()
    with pytest.raises(DataError, match="rendres"):
        train(wrong, run, device="cpu", new=True)
    assert file.read_bytes() == before
    train(tiny.model_copy(update={"seed": 3}), run, device="cpu", new=True, start_from=run)  # from its own weights


def test_other_data_or_other_weights_are_refused(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    first, run = train(tiny, tmp_path / "first", device="cpu"), tmp_path / "run"
    with pytest.raises(Killed):
        train(tiny, run, device="cpu", report=_kill)
    with pytest.raises(RunError, match="other starting weights"):
        train(tiny, run, device="cpu", start_from=first)
    (tiny.data.synthetic / "000.png").unlink()
    with pytest.raises(RunError, match="other synthetic images"):
        train(tiny, run, device="cpu")


def test_faulty_labels_do_not_stop_training(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    (tiny.data.synthetic / "labels.csv").write_text("no,header\n1,2\n", encoding="utf-8")
    assert train(tiny, tmp_path / "run", device="cpu").exists()


@pytest.mark.parametrize("limit", [2**32, 100])
def test_a_store_trains_the_refiner_that_its_folder_trains(
    tiny: TrainingConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Held in memory or read batch by batch."""
    folders = tiny.data.model_dump(include={"synthetic", "real"})
    for name, folder in folders.items():
        convert(folder, tmp_path / f"{name}.h5", Conversion())
    train(tiny, tmp_path / "folder", device="cpu")
    monkeypatch.setattr(data, "MAX_BYTES", limit)
    stores = tiny.data.model_copy(update={name: tmp_path / f"{name}.h5" for name in folders})
    train(tiny.model_copy(update={"data": stores}), tmp_path / "store", device="cpu")
    assert metrics(tmp_path / "folder") == metrics(tmp_path / "store")
    first, second = (load_refiner(tmp_path / name).network().state_dict() for name in ("folder", "store"))
    assert equal(first, second)


def test_a_run_of_the_cpu_stays_there_when_a_card_appears(
    tiny: TrainingConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether `train` or a job of its own asks: networks and images are on the device of the record."""
    caplog.set_level("INFO", "refiner")
    more = tiny.model_copy(update={"steps": tiny.steps + 2})
    train(more, tmp_path / "whole", device="cpu")
    train(tiny, tmp_path / "run", device="auto")
    monkeypatch.setattr("refiner.core.devices._has_gpu", lambda: True)
    with open_run(tmp_path / "run", tiny) as folder:
        job = loop.RefinerTraining(tiny, folder, load_inputs(tiny), device="auto")
        assert job.processes.device == torch.device(job.method.device) == torch.device("cpu")
    caplog.clear()
    train(more, tmp_path / "run", device="auto")
    assert sum("was started on the cpu and stays there" in message for message in caplog.messages) == 1
    files = [tmp_path / name / "refiner.safetensors" for name in ("whole", "run")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_of_a_card_is_not_computed_elsewhere_unasked(
    tiny: TrainingConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("refiner.core.devices._has_gpu", lambda: False)
    run = tmp_path / "run"
    train(tiny, run, device="cpu")
    record = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**record, "device": "cuda"}))
    before = (run / "refiner.safetensors").read_bytes()
    more = tiny.model_copy(update={"steps": tiny.steps + 1})
    with pytest.raises(DeviceError, match="was started on cuda, but no CUDA device is usable here"):
        train(more, run, device="auto")
    assert (run / "refiner.safetensors").read_bytes() == before
    train(more, run, device="cpu")
    assert "this run was started on cuda, not cpu, so its bits will differ" in caplog.messages
