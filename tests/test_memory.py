"""The largest memory of a process and of those it starts."""

import subprocess
import sys

from refiner.memory import PeakMemory

MIB = 2**20


def test_memory_that_is_taken_and_given_back_counts() -> None:
    with PeakMemory() as before:
        pass
    with PeakMemory() as memory:
        taken = bytearray(b"x" * (200 * MIB))
        del taken
    assert memory.mib > before.mib - 50
    program = f"import time; taken = bytearray(b'x' * {300 * MIB}); time.sleep(1)"
    with PeakMemory() as children:
        subprocess.run([sys.executable, "-c", program], check=True)
    assert children.mib > before.mib + 250
