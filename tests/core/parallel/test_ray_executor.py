"""Refining on a Ray cluster of two nodes: a worker, a node and the driver die, nothing is lost or done twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from refiner.core.errors import DeviceError, OutputError
from refiner.core.parallel import ray_executor
from refiner.core.parallel.ray_executor import map_on_ray
from refiner.images.io import write_image
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

COUNT = 240

PROGRAM = """
import sys
from pathlib import Path
from refiner.inference.jobs import folder_job
from refiner.inference.jobs.refine import refine_path
from refiner.core.errors import RefinerError
folder_job.TASK_IMAGES = 4
try:
    places = Path("in"), Path("out"), Path("refiner.safetensors")
    print(refine_path(*places, backend="torch", engine="ray", workers=None))
except RefinerError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that computes nothing but as a node of its own, of one core."""
    utilities = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    cluster = utilities.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def finished(folder: Path) -> int:
    file = folder / "out" / ".refiner" / "manifest.jsonl"
    return sum('"notes"' in line for line in file.read_text().splitlines()) if file.exists() else 0


def wait_for(folder: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while finished(folder) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_a_node_and_the_driver_may_die(cluster: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        write_image(tmp_path / "in" / f"{number:03d}.png", rng.integers(0, 256, (36, 60), np.uint8))
    architecture: dict[str, Any] = {"output": "residual"}  # the paper's network, for its time
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(**architecture))
    torch.nn.init.normal_(network.head.weight, std=0.1)
    save_refiner(tmp_path / "refiner.safetensors", network, training={})
    node = cluster.add_node(num_cpus=1)

    driver = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, stdout=-1, stderr=-1, text=True)
    wait_for(tmp_path, 20, driver)
    cluster.remove_node(node, allow_graceful=False)
    wait_for(tmp_path, 60, driver)
    os.kill(worker(), signal.SIGKILL)
    wait_for(tmp_path, 100, driver)
    driver.kill()
    driver.communicate()
    done = finished(tmp_path)
    assert 100 <= done < COUNT

    cluster.add_node(num_cpus=1)
    again = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert again.stdout.splitlines()[-1] == str(Summary(COUNT - done, done, 0)), again.stderr  # after what Ray says
    refine_path(tmp_path / "in", tmp_path / "here", tmp_path / "refiner.safetensors", device="cpu")
    names = [f"{number:03d}.png" for number in range(COUNT)]
    assert all((tmp_path / "out" / n).read_bytes() == (tmp_path / "here" / n).read_bytes() for n in names)
    assert (tmp_path / "out" / "drift.csv").read_bytes() == (tmp_path / "here" / "drift.csv").read_bytes()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".refiner", *names, "drift.csv"]


def worker() -> int:
    """A process of the cluster that refines."""
    found = subprocess.run(["pgrep", "-f", "ray::refine_task"], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match=r"ray is not installed; pip install 'simgan-refiner\[ray\]' adds it"):
        list(map_on_ray(abs, [1], workers=1))


class _FakeRay:
    """A cluster of two cores that computes a task when its result is asked for, the newest first."""

    def remote(self, **options: Any) -> Any:
        assert options == {"num_cpus": 1, "max_retries": -1}
        return lambda function: SimpleNamespace(remote=lambda *arguments: partial(function, *arguments))

    def put(self, value: Any) -> Any:
        return value

    def wait(self, pending: list[Any]) -> tuple[list[Any], list[Any]]:
        return [pending[-1]], pending[:-1]

    def get(self, pending: Any) -> Any:
        return pending()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}


@pytest.mark.parametrize(("workers", "ahead"), [(0, 4), (1, 1), (3, 3)])
def test_a_bounded_number_of_tasks_is_submitted(monkeypatch: pytest.MonkeyPatch, workers: int, ahead: int) -> None:
    monkeypatch.setattr(ray_executor, "_connect", _FakeRay)
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield -number

    results = []
    for result in map_on_ray(abs, tasks(), workers=workers):
        results.append(result)
        assert len(taken) <= len(results) + ahead
    assert sorted(results) == list(range(20))
    assert list(map_on_ray(abs, [], workers=workers)) == []


def _refuse(task: int) -> int:
    raise OutputError(f"no space for {task}")


def test_an_error_of_a_task_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "_connect", _FakeRay)
    with pytest.raises(OutputError, match="no space for 7"):
        list(map_on_ray(_refuse, [7], workers=1))
