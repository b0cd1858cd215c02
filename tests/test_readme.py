"""The commands and the Python of the README, in order, on few images and steps."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from refiner.commands import main
from refiner.data.formats.registry import open_dataset

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

FEWER = {"5000": "72", "2000": "136"}
FEWER_STEPS = ["--set", "steps=2", "--set", "pretraining.discriminator_steps=1", "--set", "checkpoint_every=2"]


def shell_blocks() -> list[list[str]]:
    """Arguments of every ``refiner`` command in the README, in order."""
    blocks = re.findall(r"```shell\n(.*?)```", README, flags=re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[3:] for line in lines if line.startswith("uv run refiner")]


def python_block() -> str:
    return re.findall(r"```python\n(.*?)```", README, flags=re.S)[0]


def run(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, f"{arguments}: {result.output}"


def test_the_three_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = shell_blocks()
    jobs = ["demo", "train", "refine", "gaze", "gaze", "render", "render", "render"]
    assert [command[0] for command in commands] == [*jobs, "evaluate", "report", "convert", "convert"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    train, refine, train_gaze, evaluate_gaze, render, stand_in, matched, evaluate, report, convert, store = commands[1:]
    monkeypatch.setattr("refiner.eyes.calibration.POOL", 50)
    for command in (render, stand_in, matched):
        run([FEWER.get(word, word) for word in command])
    run([*train, *FEWER_STEPS])
    run(refine)
    assert len(list((tmp_path / "refined").glob("*.png"))) == 72
    run([word for word in evaluate if word != "--gate"])  # two steps make no refiner that passes
    run([*report, "--trials", "10"])
    assert {path.name for path in (tmp_path / "runs" / "eyes").glob("*.html")} == {"report.html", "turing.html"}
    run([*train_gaze, "--set", "steps=2"])
    run([*evaluate_gaze[:-1], "synthetic"])
    run(["render", "unityeyes", "--layout", "unityeyes", "--count", "3", "--size", "72x120", "--colour"])
    run([*convert[:2], "patches", *convert[3:]])
    assert len(list((tmp_path / "patches").glob("*.png"))) == 3
    run(["convert", "patches", *store[2:]])
    assert len(open_dataset(tmp_path / "renders.h5").ids) == 3

    image = np.random.default_rng(0).integers(0, 256, (36, 60, 3)).astype(np.uint8)
    names = {"image": image, "other": image[:20, :33, 0], "tensor": torch.zeros(2, 1, 9, 14)}
    for line in python_block().splitlines():
        exec(line, names)
        if line.startswith("refined = refine(image)"):
            assert names["refined"].shape == image.shape
    assert names["refined"].shape == (2, 1, 9, 14)
    assert abs(names["pitch"]) < 2


def test_what_the_readme_names_is_there() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
