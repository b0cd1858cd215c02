"""The largest memory of a process and of those it starts."""

import subprocess
import sys
import time

from refiner.benchmark.peak_memory import INTERVAL, PeakMemory

MIB = 2**20
TAKES_300 = [sys.executable, "-c", f"import time; taken = b'x' * {300 * MIB}; time.sleep(1)"]


def test_memory_that_is_taken_and_given_back_counts() -> None:
    with PeakMemory() as before:
        pass
    with PeakMemory() as memory:
        taken = bytearray(b"x" * (200 * MIB))
        time.sleep(5 * INTERVAL)
        del taken
    assert memory.mib > before.mib + 150
    with PeakMemory() as children:
        subprocess.run(TAKES_300, check=True)
    assert children.mib > before.mib + 250


def test_another_process_is_told_alone() -> None:
    ours = bytearray(b"x" * (200 * MIB))
    with subprocess.Popen(TAKES_300) as job, PeakMemory(job.pid) as memory:
        job.wait()
    del ours
    assert 300 < memory.mib < 400
