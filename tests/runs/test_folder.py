from pathlib import Path

import pytest
import yaml

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import DeviceError, OutputError, RunError
from refiner.runs.folder import RunFolder, open_run

CONFIGURATION = TrainingConfiguration()


def test_metrics_are_cut_back(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", CONFIGURATION) as run:
        run.cut_metrics(0)
        for step in (10, 20, 30):
            run.log_metrics({"step": step})
    (tmp_path / "run" / "metrics.jsonl").open("a").write('{"step": 4')  # a kill in the middle of a line
    with open_run(tmp_path / "run", CONFIGURATION) as run:
        run.cut_metrics(20)
        run.log_metrics({"step": 30, "again": 1})
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert text == '{"step": 10}\n{"step": 20}\n{"step": 30, "again": 1}\n'


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"precious")
    for new in (False, True):
        with (
            pytest.raises(OutputError, match="holds files that are no run"),
            open_run(tmp_path, CONFIGURATION, new=new),
        ):
            pass
    assert (tmp_path / "photo.png").read_bytes() == b"precious"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(OutputError, match="is a file"), open_run(tmp_path / "run", CONFIGURATION):
        pass


def test_new_deletes_the_run_and_nothing_else(tmp_path: Path) -> None:
    with open_run(tmp_path, CONFIGURATION) as run:
        run.checkpoints.mkdir()
        (run.checkpoints / "step-00000001.pt").write_bytes(b"x")
        (run.path / "notes.txt").write_text("mine")
    with open_run(tmp_path, CONFIGURATION.model_copy(update={"seed": 4}), new=True) as run:
        assert not run.checkpoints.exists()
        assert (run.path / "notes.txt").read_text() == "mine"
    with pytest.raises(RunError, match="seed: 4 -> 0"), open_run(tmp_path, CONFIGURATION):
        pass


def test_a_damaged_environment_is_named(tmp_path: Path) -> None:
    with open_run(tmp_path, CONFIGURATION) as run:
        assert run.read_environment() == {}
        (tmp_path / "environment.json").write_text("{")
        with pytest.raises(RunError, match=r"environment\.json is damaged"):
            run.read_environment()


def test_a_resumed_run_keeps_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "refiner")
    has_gpu = [True]
    monkeypatch.setattr("refiner.core.devices._has_gpu", lambda: has_gpu[0])
    run = RunFolder(tmp_path)
    assert run.resolve_device("auto") == "cuda"
    # A run of the CPU, after a card has appeared.
    run.write_environment({"device": "cpu"})
    assert run.resolve_device("cuda") == "cuda"
    assert not caplog.messages
    assert run.resolve_device("auto") == "cpu"
    assert caplog.messages == [
        "this run was started on the cpu and stays there; --device cuda uses the GPU, with other bits"
    ]
    # A run of a card, with it and without it.
    run.write_environment({"device": "cuda"})
    assert run.resolve_device("auto") == "cuda"
    has_gpu[0] = False
    assert run.resolve_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match=r"was started on cuda, but no CUDA device is usable here; .* --device cpu"):
        run.resolve_device("auto")
    run.write_environment({"device": "cpu"})
    caplog.clear()
    assert run.resolve_device("auto") == "cpu"
    assert not caplog.messages


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_environment({"device": "cpu", "renders": "of version 1"})
    with pytest.raises(RunError, match="holds a run of another version"):
        run.settle_environment("cpu", {}, lambda device: "fp32")


def test_a_run_that_is_older_than_the_padding_resumes_with_zeros_alone(tmp_path: Path) -> None:
    """Its config.yaml names every setting but this one; the default of today would be another network."""
    zeros = CONFIGURATION.model_copy(
        update={
            name: getattr(CONFIGURATION, name).model_copy(update={"padding": "zeros"})
            for name in ("refiner", "discriminator")
        }
    )
    with open_run(tmp_path, zeros):
        pass
    file = tmp_path / "config.yaml"
    values = yaml.safe_load(file.read_text())
    assert values["refiner"].pop("padding") == values["discriminator"].pop("padding") == "zeros"
    file.write_text(yaml.safe_dump(values))
    with (
        pytest.raises(RunError, match=r"\(refiner\.padding: zeros -> replicate; discriminator\.padding: zeros -> repl"),
        open_run(tmp_path, CONFIGURATION),
    ):
        pass
    with open_run(tmp_path, zeros):
        pass
