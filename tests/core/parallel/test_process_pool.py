"""Many tasks on several processes: in order, a bounded number ahead, and no process outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from refiner.core.errors import ImageError, OutputError
from refiner.core.parallel.process_pool import map_in_order


def square(number: int) -> int:
    time.sleep(0.01 * (number % 3))
    return number * number


def process(_: int) -> int:
    return os.getpid()


def fail_at_two(number: int) -> int:
    if number == 2:
        raise ImageError("two.png", "is two")
    return number


def die_at_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes find this module by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(sys.modules, Path(__file__).stem, sys.modules[__name__])
    for function in (square, process, fail_at_two, die_at_two):
        monkeypatch.setattr(function, "__module__", Path(__file__).stem)


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    assert list(map_in_order(square, range(9), workers=workers)) == [n * n for n in range(9)]
    assert list(map_in_order(square, [], workers=workers)) == []


@pytest.mark.usefixtures("importable")
def test_several_processes_do_the_work_and_one_worker_is_this_one() -> None:
    assert set(map_in_order(process, range(3), workers=1)) == {os.getpid()}
    others = set(map_in_order(process, range(20), workers=2))
    assert os.getpid() not in others
    assert 1 <= len(others) <= 2


@pytest.mark.usefixtures("importable")
def test_tasks_are_taken_a_bounded_number_ahead() -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    results = map_in_order(square, tasks(), workers=2, ahead=2)
    for done in range(1, 20):
        next(results)
        assert taken <= done + 4
    results.close()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("importable")
def test_an_error_in_a_worker_is_raised_here_as_it_was() -> None:
    with pytest.raises(ImageError, match=r"two\.png: is two") as raised:
        list(map_in_order(fail_at_two, range(9), workers=2))
    assert raised.value.reason == "is two"


@pytest.mark.usefixtures("importable")
def test_a_killed_worker_is_one_clear_error() -> None:
    with pytest.raises(OutputError, match="a worker process was killed, perhaps because memory ran out; use fewer"):
        list(map_in_order(die_at_two, range(9), workers=2))


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, pathlib, time\n"
        "from refiner.core.parallel.process_pool import map_in_order\n"
        "def work(n):\n"
        "    (pathlib.Path(__file__).parent / f'{os.getpid()}.pid').touch()\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    list(map_in_order(work, range(4), workers=2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    finally:
        parent.kill()
        parent.wait()
    workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    wait_until(lambda: not any(is_running(worker) for worker in workers))


def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def is_running(process_id: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process_id}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


SERVED = """
import time
from pathlib import Path
from refiner.core.parallel.process_pool import begin_imports, map_in_order
if __name__ == "__main__":
    begin_imports("slow")
    while not (Path("server").exists() and Path("server").read_text()):
        time.sleep(0.01)
    server = Path("server").read_text()
    import slow
    print(server, *set(map_in_order(slow.parent, range(4), workers=2)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes do not start from a server here")
def test_modules_are_imported_before_the_first_worker_is_wanted(tmp_path: Path) -> None:
    slow = "import os\nfrom pathlib import Path\nPath('server').write_text(str(os.getpid()))\n"
    (tmp_path / "slow.py").write_text(slow + "def parent(_):\n    return os.getppid()\n")
    (tmp_path / "program.py").write_text(SERVED)
    program = [sys.executable, "program.py"]
    run = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    server, *parents = run.stdout.split()
    assert parents == [server]


INTERRUPTED = """
import os, signal, time
from pathlib import Path
from refiner.core.parallel.process_pool import begin_imports
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    begin_imports("slow")
    while not Path("server").exists():
        time.sleep(0.01)
    try:
        os.killpg(0, signal.SIGINT)
        time.sleep(10)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes do not start from a server here")
def test_an_interrupt_is_answered_by_the_command_alone(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nopen('server', 'w').close()\ntime.sleep(1)\n")
    (tmp_path / "program.py").write_text(INTERRUPTED)
    program = [sys.executable, "program.py"]
    run = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "interrupted\n", "")
