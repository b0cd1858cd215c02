"""Each door in tools/ starts as a program of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.mark.parametrize("name", ["train", "refine", "convert", "render"])
def test_a_door_leads_to_its_command(name: str) -> None:
    printed = subprocess.run(
        [sys.executable, str(TOOLS / f"{name}.py"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert f"Usage: refiner {name}" in printed


def test_a_mistake_is_one_line_there_too() -> None:
    done = subprocess.run([sys.executable, str(TOOLS / "train.py"), "absent.yaml"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "absent.yaml" in done.stderr
    assert "Traceback" not in done.stderr
