"""The benchmark: it measures every workload, and its ratios refer to the measurements that they name."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from refiner.benchmark import benchmark as benchmark_module
from refiner.benchmark import workloads
from refiner.benchmark.baseline import PlainNetwork
from refiner.benchmark.benchmark import Benchmark, benchmark
from refiner.benchmark.workloads import NETWORKS, PLAIN, network_workloads
from refiner.commands import main
from refiner.core.errors import OutputError
from refiner.inference.backends.base import Backend
from refiner.inference.backends.registry import BACKENDS
from refiner.inference.backends.torch_backend import is_compiled
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile
from refiner.models.refiner import RefinerNetwork


@pytest.fixture(scope="module", autouse=True)
def quick_backends() -> Iterator[None]:
    """Compiling takes longer than all the rest; what it makes is tested with the backends."""
    everything = dict(BACKENDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark_module, "JOB_REPEATS", 1)
        for name in filter(is_compiled, everything):
            del BACKENDS[name]
        yield
    BACKENDS.clear()
    BACKENDS.update(everything)  # in their order, which messages show


@pytest.fixture(scope="module")
def found() -> Benchmark:
    notes: list[tuple[int, int, str]] = []
    found = benchmark(
        device="cpu", size=(12, 20), images=3, repeats=2, seconds=0, report=lambda *note: notes.append(note)
    )
    assert [done for done, _, _ in notes] == list(range(len(notes)))
    assert {total for _, total, _ in notes} == {len(notes) - 1}
    return found


def test_every_backend_is_measured_or_said_to_be_absent(found: Benchmark) -> None:
    names = {rate.name for rate in found.rates}
    for backend in BACKENDS:
        assert (f"paper's network, {backend}" in names) != (backend in found.absent)


def test_any_networks_are_measured_beside_the_paper_s() -> None:
    tiny = RefinerFile.of(RefinerNetwork(RefinerArchitecture(features=4, blocks=1, unshuffle=2)))
    found, absent = network_workloads("cpu", (12, 20), {"tiny, ": tiny})
    assert list(found) == [PLAIN, *(f"tiny, {name}" for name in BACKENDS if name not in absent)]
    assert all(run() for run in found.values())


def test_the_plain_network_is_computed_by_another_process_and_its_end_is_noticed() -> None:
    network = PlainNetwork((3, 1, 12, 20), "cpu")
    assert [network(), network()] == [3, 3]
    network._process.kill()
    network._process.wait()
    with pytest.raises(OutputError, match="the process of the plain network has ended"):
        network()


def test_a_backend_that_fails_here_is_said_to_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(name: str, refiner: RefinerFile, *, device: str) -> Backend:
        if name == "torch":
            return Backend(name, lambda images: images)
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(workloads, "open_backend", opened)
    tiny = RefinerFile.of(RefinerNetwork(RefinerArchitecture(features=4, blocks=1)))
    found, absent = network_workloads("cpu", (12, 20), {"tiny, ": tiny})
    assert list(found) == [PLAIN, "tiny, torch"]
    assert absent == dict.fromkeys(BACKENDS.keys() - {"torch"}, "it fails here (no kernel for this)")


def test_ratios_are_of_medians(found: Benchmark) -> None:
    rates = {rate.name: rate for rate in found.rates}
    assert rates[PLAIN].ratio == 1
    for rate in found.rates:
        assert 0 < rate.low <= rate.median <= rate.high
        assert rate.ratio == pytest.approx(rate.median / rates[rate.against].median)


def test_whole_jobs_are_held_against_the_network_that_they_run(found: Benchmark) -> None:
    jobs = {rate.name: rate for rate in found.rates if rate.name.endswith(("folder to folder", "store to store"))}
    for title in NETWORKS:
        own = {
            rate.name: rate.median
            for rate in found.rates
            if rate.name.startswith(title) and rate.name not in jobs and rate.name != PLAIN
        }
        against = {rate.against for rate in jobs.values() if rate.name.startswith(title)}
        assert against == {max(own, key=own.__getitem__)}
    assert len(jobs) == 2 * len(NETWORKS)
    assert found.job_mib > 100


def test_command_prints_a_table_or_json(found: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(benchmark_module, "benchmark", lambda **options: asked.append(options) or found)
    arguments = ["benchmark", "--device", "cpu", "--size", "12x20", "--images", "3", "--repeats", "1", "--seconds", "0"]
    table = CliRunner().invoke(main, ["--quiet", *arguments], catch_exceptions=False).output
    for rate in found.rates:
        assert f"{rate.name} " in table
    assert f"peak memory of a whole job: {found.job_mib:,.0f} MiB" in table
    result = CliRunner().invoke(main, ["--quiet", *arguments, "--json"], catch_exceptions=False)
    options = asked[-1]
    assert [options[name] for name in ("device", "size", "images", "repeats")] == ["cpu", (12, 20), 3, 1]
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["command"] == "benchmark"
    assert facts["environment"]["processor"]["cores"] >= 1
    assert {rate["name"] for rate in facts["rates"]} >= {PLAIN, "pretrained refiner, folder to folder"}


def test_a_profile_tells_what_takes_the_time() -> None:
    arguments = ["benchmark", "--device", "cpu", "--size", "12x20", "--profile"]
    result = CliRunner().invoke(main, ["--quiet", *arguments, "--json"], catch_exceptions=False)
    profile = json.loads(result.stdout)["profile"]
    assert PLAIN in profile
    step = profile["training step of batch 64, fp32"]
    assert sum(operation["share"] for operation in step) == pytest.approx(1)
    shares = {operation["name"]: operation["share"] for operation in step}
    assert sum(share for name, share in shares.items() if "convolution" in name) > 0.5
    table = CliRunner().invoke(main, ["--quiet", *arguments], catch_exceptions=False).output
    assert "aten::convolution_backward" in table
