"""Training in two processes: what one would do with the same batch, and what is left when one of them dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import write_configuration
from refiner.core.errors import ConfigurationError, RunError, UsageError
from refiner.core.files import read_json_lines
from refiner.core.rng import BatchSlice
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.training.train import train_estimator
from refiner.images.io import read_image, write_image
from refiner.runs.checkpoints import list_checkpoints
from refiner.runs.distributed import Processes
from refiner.training.inputs import load_inputs
from refiner.training.methods.build import build_networks
from refiner.training.train import train

LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--num_processes", "2"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
]

EVERYTHING = {
    "steps": 5,
    "checkpoint_every": 5,
    "score_every": 2,
    "motion_weight": 1.0,
    "method": "cyclegan",
    "adaptation": "fourier",
    "augmentation": {"synthetic": [{"GaussNoise": {"p": 0.8}}], "real": [{"HorizontalFlip": {"p": 0.5}}]},
    "discriminator": {
        "width": 0.25,
        "r1_weight": 1.0,
        "r1_every": 2,
        "spectral_norm": True,
        "augmentation": {"translation": 0.25, "cutout": 0.5, "brightness": 0.5, "contrast": 0.5, "blur": 1.0},
    },
}


def arguments_of(configuration: TrainingConfiguration, run: Path) -> list[str]:
    file = run.with_suffix(".yaml")
    file.write_text(write_configuration(configuration))
    return ["train", str(file), "--run", str(run), "--device", "cpu"]


def launch(configuration: TrainingConfiguration, run: Path) -> "subprocess.Popen[str]":
    """Start a run as the docs say."""
    command = [*LAUNCH, "-m", "refiner", *arguments_of(configuration, run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: "subprocess.Popen[str]") -> str:
    """Return its messages after it ended well."""
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    return said


class Pair(NamedTuple):
    """Two processes of one run."""

    processes: list[BaseProcess]
    outputs: list[Path]

    def finish(self, *statuses: int) -> str:
        """Return what both printed, on both streams, after they ended with these statuses."""
        for process in self.processes:
            process.join(120)
        said = "".join(output.read_text() for output in self.outputs)
        assert [process.exitcode for process in self.processes] == list(statuses), said
        return said


Start = Callable[[TrainingConfiguration, Path], Pair]


@pytest.fixture
def start(start_python: Callable[..., BaseProcess], tmp_path: Path) -> Start:
    """Starts two processes with the variables that the launcher would set, without its seconds of imports."""

    def start(configuration: TrainingConfiguration, run: Path) -> Pair:
        arguments = arguments_of(configuration, run)
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
        pair = Pair([], [])
        for rank in range(2):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            pair.outputs.append(tmp_path / f"{run.name}-{rank}.txt")
            code = f"os.environ.update({address | place!r}); from refiner.commands import main; main({arguments!r})"
            pair.processes.append(start_python(f"import os; {code}", output=pair.outputs[-1]))
        return pair

    return start


def state(run: Path) -> dict[str, Any]:
    return torch.load(list_checkpoints(run / "checkpoints")[-1], weights_only=True)


def tensors(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(value, dict):
        found = [tensors(inner, f"{name}.{key}") for key, inner in value.items()]
        return {key: tensor for some in found for key, tensor in some.items()}
    return {name: value} if isinstance(value, torch.Tensor) else {}


def test_ten_steps_agree_with_one_process_and_so_does_the_history(
    tiny: TrainingConfiguration, tmp_path: Path, start: Start
) -> None:
    configuration = TrainingConfiguration.model_validate({**tiny.model_dump(), **EVERYTHING})
    assert configuration.total_steps == 10
    pair = start(configuration, tmp_path / "two")
    train(configuration, tmp_path / "one", device="cpu")
    said = pair.finish(0, 0)
    assert said.count(f"{tmp_path / 'two' / 'refiner.safetensors'}\n") == 1
    assert said.count("INFO: synthetic: 20 images") == 1  # one speaks for both
    one, two = (tensors(state(tmp_path / name)["method"]) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-5), name
    for network, begun in zip(("refiner", "discriminator"), build_networks(configuration), strict=True):
        moved = [(one[f".{network}.{name}"] - value).abs().max() for name, value in begun.state_dict().items()]
        assert max(moved) > 1e-3, network
    assert len(one[".history.images"]) == 8


def test_masks_of_unequal_weight_are_those_of_the_whole_batch(
    tiny: TrainingConfiguration, tmp_path: Path, start: Start
) -> None:
    """With few bright pixels in one process and many in the other, the mean of two ratios is another loss."""
    assert tiny.data.synthetic is not None
    for number, render in enumerate(sorted(tiny.data.synthetic.glob("*.png"))):
        mask = np.zeros(read_image(render).shape[:2], np.uint8)
        mask[: 1 + number % 4 * 3, : 2 + number % 3 * 20] = 255
        write_image(tmp_path / "masks" / render.name, mask)
    data = {**tiny.data.model_dump(), "mask": tmp_path / "masks"}
    pretraining = {"refiner_steps": 2, "discriminator_steps": 0}
    values = {"data": data, "steps": 4, "pretraining": pretraining, "self_regularization": "pixels_and_gradients"}
    sgd = {"name": "sgd", "learning_rate": 0.01}  # whose steps have the length of the gradient
    configuration = TrainingConfiguration.model_validate({**tiny.model_dump(), **values, "refiner_optimizer": sgd})
    pair = start(configuration, tmp_path / "two")
    train(configuration, tmp_path / "one", device="cpu")
    pair.finish(0, 0)
    one, two = (tensors(state(tmp_path / name)["method"]) for name in ("one", "two"))
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-6), name
    (begun, _) = build_networks(configuration)
    assert max((one[f".refiner.{name}"] - value).abs().max() for name, value in begun.state_dict().items()) > 1e-3
    losses = [read_json_lines(tmp_path / name / "metrics.jsonl") for name in ("one", "two")]
    for alone, shared in zip(*losses, strict=True):
        assert shared["self_regularization"] == pytest.approx(alone["self_regularization"], rel=1e-4)


def test_a_process_that_is_killed_ends_the_job_and_the_same_command_goes_on_to_the_same_bits(
    tiny: TrainingConfiguration, tmp_path: Path, start: Start
) -> None:
    configuration = tiny.model_copy(update={"steps": 150, "checkpoint_every": 10, "sample_every": 80})
    broken = tmp_path / "broken"
    whole = start(configuration, tmp_path / "whole")
    process = launch(configuration, broken)
    while not list((broken / "checkpoints").glob("step-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(of_rank(1, process.pid), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert 10 <= state(broken)["step"] < 150
    assert "resuming at step" in finish(launch(configuration, broken))
    whole.finish(0, 0)
    assert (broken / "refiner.safetensors").read_bytes() == (tmp_path / "whole" / "refiner.safetensors").read_bytes()
    one, two = (tensors(state(run)) for run in (broken, tmp_path / "whole"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def of_rank(rank: int, launcher: int) -> int:
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return int(pid)
    raise AssertionError(f"no process of rank {rank}")


def test_what_one_process_refuses_ends_both_and_is_said_once(
    tiny: TrainingConfiguration, tmp_path: Path, start: Start
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.txt").touch()
    odd = tiny.model_copy(update={"batch_size": 5})
    cases = {
        "foreign": (tiny, 2, "holds files that are no run; choose an empty folder"),
        "odd": (odd, 2, "batch_size is 5, which 2 processes cannot share equally; set it to a multiple of 2"),
    }
    for name, (configuration, status, reason) in cases.items():
        said = start(configuration, tmp_path / name).finish(status, 1)
        assert said.count(reason) == 1
        assert sum(line.startswith("Error: ") for line in said.splitlines()) == 1


# --- one process alone ---------------------------------------------------------------------------------------------


def test_one_process_has_everything() -> None:
    alone = Processes("cpu")
    values = torch.tensor([1.0, 2.0])
    assert (alone.num_processes, alone.is_main_process, alone.batch_slice(6)) == (1, True, BatchSlice(0, 6, 6))
    assert torch.equal(alone.gather(values), values)
    assert torch.equal(alone.mean(values), values)
    assert alone.any(True)
    assert not alone.any(False)
    assert alone.main_process_first(lambda: 7) == 7
    with pytest.raises(RunError, match="mine"), alone.raise_together():
        raise RunError("mine")


def test_shares_cover_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Processes("cpu")
    alone.num_processes = 3
    covered = []
    for rank in range(3):
        alone.process_index = rank
        covered += list(range(12))[alone.batch_slice(12).slice]
    assert covered == list(range(12))


def test_a_batch_that_cannot_be_shared_is_refused(tiny: TrainingConfiguration) -> None:
    with pytest.raises(ConfigurationError, match="batch_size is 6, which 4 processes cannot share equally"):
        load_inputs(tiny, num_processes=4)


def test_gaze_training_is_the_work_of_one_process(
    tiny_gaze: GazeConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="start it without accelerate launch"):
        train_estimator(tiny_gaze, tmp_path / "run")
