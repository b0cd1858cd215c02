"""Feed odd and damaged inputs to the commands, and judge the results: python tests/fuzz/run.py --count 5000 --seed 0.

Every other case is a sample of ``datasets/samples`` (or a store, a refiner file, a run folder made of them) that is
damaged in one to three ways; ``cases.py`` says what must hold. The cases between them are labelled folders whose every
pixel and label is known; ``value_cases.py`` compares what comes out with formulas of its own.

Cases run in a process of their own, so that one that hangs, crashes or fills the memory is found, too. If flipped bytes
make the HDF5 library itself crash, the case is counted separately, because no caller can prevent it. Case 17 of seed 0
is the same on every machine, and ``--seed 0 --only 17`` runs only it. The package must be installed. Exit status 1:
some cases failed.
"""

import json
import multiprocessing
import os
import re
import resource
import shutil
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import click
from cases import Outcome, run_case
from choices import CANARY
from sandboxes import Source, digest
from value_cases import make_tools, run_value_case

SAMPLES = Path(__file__).parents[2] / "datasets" / "samples"
LIMIT_SECONDS = 15.0
MAX_MEMORY = 3 * 2**30
"""Largest resident memory of a case, in bytes; the largest image that can be read takes a third of it."""

FILES = {"mpiigaze-hdf5": "MPIIGaze.h5", "gaze-hdf5": "real_gaze.h5", "store": "eyes.h5"}
KINDS = ("damage", "values")
"""Kinds of cases; even numbers are damage, odd ones values."""

READ_AS = {"run": None, "mpiigaze-evaluation": "mpiigaze", "nyu-hand-synthetic": "nyu-hand"}


_HDF5_FILE = re.compile(r"\.(h5|mat)'")


class Failure(NamedTuple):
    """A case that failed."""

    number: int
    outcome: Outcome


def make_sources(work: Path) -> tuple[dict[str, Source], Path]:
    """Make valid inputs of every layout, and a refiner file."""
    from refiner.config.training import TrainingConfiguration
    from refiner.config.yaml_files import write_configuration
    from refiner.data.conversion import Conversion
    from refiner.data.convert import convert
    from refiner.data.formats.registry import FORMATS, open_dataset
    from refiner.models.architecture import RefinerArchitecture
    from refiner.models.files.refiner_file import save_refiner
    from refiner.models.refiner import RefinerNetwork

    refiner = work / "refiner.safetensors"
    save_refiner(refiner, RefinerNetwork(RefinerArchitecture(features=4, blocks=1)), training={"steps": 3})
    store, run = work / "store", work / "run"
    store.mkdir()
    convert(SAMPLES / "folder", store / "eyes.h5", Conversion())
    (run / "checkpoints").mkdir(parents=True)
    configuration = TrainingConfiguration.model_validate({"data": {"synthetic": "in", "real": "in"}})
    (run / "config.yaml").write_text(write_configuration(configuration))
    (run / "environment.json").write_text(json.dumps({"precision": "fp32", "threads": 1, "versions": {"torch": "2"}}))
    rows = [{"step": step, "phase": "refine", "refiner_loss": 0.5 / step, "seconds": 1.5} for step in range(1, 4)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "checkpoints" / "step-00000003.pt").write_bytes(b"not opened")
    shutil.copy(refiner, run)
    sources = {"run": Source("run", run, "", {})}
    for name in FORMATS:
        folder = work / "store" if name == "store" else SAMPLES / READ_AS.get(name, name)  # type: ignore[operator]
        dataset = open_dataset(folder / FILES.get(name, ""), format=name)
        digests = {sample: digest(dataset.read(sample).image) for sample in dataset.ids}
        sources[name] = Source(name, folder, FILES.get(name, ""), digests)
    return sources, refiner


def worker(connection: Connection, work: Path, seed: int) -> None:
    """Run the cases that are sent, and send back their outcomes with the peak of memory."""
    os.environ[CANARY] = str(work / "canary")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # hides the messages of decoders
    resource.setrlimit(resource.RLIMIT_AS, (4 * MAX_MEMORY, 4 * MAX_MEMORY))
    import torch

    torch.set_num_threads(1)
    place = Path(tempfile.mkdtemp(dir=work))
    sources, refiner = make_sources(place)
    tools = make_tools(place)
    connection.send(None)
    while True:
        number, kind = connection.recv()
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        try:
            if kind == "values":
                outcome = run_value_case(place, tools, seed, number)
            else:
                outcome = run_case(place, sources, refiner, seed, number)
        except Exception as error:  # an error of the fuzzer
            outcome = Outcome("?", "?", "?", -1, [f"no case: {traceback.format_exception(error)[-2:]}"])
        connection.send((outcome, _peak_memory()))


def _peak_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


class Runner:
    """Runs cases in another process, which is replaced when it is lost."""

    def __init__(self, work: Path, seed: int, limit: float) -> None:
        self.work, self.seed, self.limit = work, seed, limit
        self.peak = 0
        self._process: Any = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=worker, args=(theirs, self.work, self.seed), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def run(self, number: int, kind: str) -> Outcome:
        """Run one case, of ``damage`` or of ``values``, and return its outcome."""
        if self._process is None:
            self._start()
        self._connection.send((number, kind))
        try:
            if not self._connection.poll(self.limit):
                return self._lost(f"still running after {self.limit:.0f} s")
            outcome, peak = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return self._lost(f"the process died with {self._process.exitcode}")
        self.peak = max(self.peak, peak)
        if peak > MAX_MEMORY:
            outcome.problems.append(f"{peak / 2**30:.1f} GiB of memory")
        return outcome  # type: ignore[no-any-return]

    def _lost(self, why: str) -> Outcome:
        self.stop()
        note = self.work / "current"
        damage = note.read_text() if note.exists() else "?"
        if "bytes" in damage and _HDF5_FILE.search(damage):  # a crash in the library, which no caller can catch
            click.echo(f"HDF5 itself fails on {damage}: {why}")
            return Outcome("HDF5", "itself", damage, -1, [])
        return Outcome("?", "?", damage, -1, [why])

    def stop(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None


@click.command()
@click.option("--count", default=5000, show_default=True, help="Number of cases.")
@click.option("--seed", default=0, show_default=True, help="Seed; a case follows from it and its number.")
@click.option("--only", type=int, multiple=True, help="Run only this case; may be given several times.")
@click.option("--limit", default=LIMIT_SECONDS, show_default=True, help="Maximum seconds of a case.")
@click.option("--kind", type=click.Choice(["both", *KINDS]), default="both", show_default=True, help="Kind of cases.")
def main(count: int, seed: int, only: tuple[int, ...], limit: float, kind: str) -> None:
    """Feed odd and damaged inputs to the commands, and count the outcomes."""
    failures: list[Failure] = []
    outcomes: Counter[tuple[str, str, int]] = Counter()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        runner = Runner(Path(folder), seed, limit)
        try:
            for number in only or range(count):
                outcome = runner.run(number, KINDS[number % 2] if kind == "both" else kind)
                outcomes[outcome.command, outcome.layout, outcome.status] += 1
                if outcome.problems:
                    failures.append(Failure(number, outcome))
                    click.echo(_line(seed, failures[-1]))
        finally:
            runner.stop()
    _print_table(outcomes)
    total = sum(outcomes.values())
    took = time.monotonic() - start
    peak = f"{runner.peak / 2**20:.0f} MiB at most"
    click.echo(f"{total:,} cases of seed {seed} in {took:.0f} s, {peak}: {len(failures)} failed")
    if failures:
        numbers = " ".join(f"--only {failure.number}" for failure in failures[:50])
        raise click.ClickException(f"run them again with --seed {seed} --kind {kind} {numbers}")


def _line(seed: int, failure: Failure) -> str:
    outcome = failure.outcome
    return (
        f"seed {seed} case {failure.number}: {outcome.command} {outcome.layout} [{outcome.damage}] {outcome.problems}"
    )


def _print_table(outcomes: Counter[tuple[str, str, int]]) -> None:
    statuses = sorted({status for _, _, status in outcomes})
    click.echo(f"{'command':16}{'layout':22}" + "".join(f"{f'status {status}':>10}" for status in statuses))
    for command, layout in sorted({key[:2] for key in outcomes}):
        counts = "".join(f"{outcomes[command, layout, status]:10}" for status in statuses)
        click.echo(f"{command:16}{layout:22}{counts}")


if __name__ == "__main__":
    main()
