"""The commands and the Python of the README, in order, on a few images and steps."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from refiner.commands import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

FEW_STEPS = ["--set", "steps=2", "--set", "pretraining.discriminator_steps=1", "--set", "checkpoint_every=2"]


def shell_lines() -> list[str]:
    """Lines of all shell blocks of the README, in order."""
    return "".join(re.findall(r"```shell\n(.*?)```", README, flags=re.S)).splitlines()


def run(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, f"{arguments}: {result.output}"


@pytest.mark.usefixtures("installed_wheel", "quick_judgement")
def test_the_commands_and_the_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell_lines()[:2] == ["pip install uv", "uv run refiner demo"]
    commands = [shlex.split(line, comments=True)[1:] for line in shell_lines()[2:]]
    assert [command[0] for command in commands] == ["inspect", "train", "evaluate", "refine", "report"]
    monkeypatch.chdir(tmp_path)  # no configs/ here: recipes are found by their names
    run(["render", "renders", "--count", "72", "--seed", "1"])
    run(["render", "real", "--target-camera", "--count", "136", "--seed", "2"])
    more = {"train": FEW_STEPS, "report": ["--trials", "10"]}
    for command in commands:
        words = [word for word in command if word != "--gate"]  # two steps train no refiner that passes
        run([*words, *more.get(command[0], [])])
    assert (tmp_path / "sheet.png").exists()
    assert len(list((tmp_path / "refined").glob("*.png"))) == 72
    assert {path.name for path in (tmp_path / "runs" / "eyes").glob("*.html")} == {"report.html", "turing.html"}

    image = np.random.default_rng(0).integers(0, 256, (36, 60, 3)).astype(np.uint8)
    names = {"image": image, "tensor": torch.zeros(2, 1, 9, 14)}
    for line in re.findall(r"```python\n(.*?)```", README, flags=re.S)[0].splitlines():
        exec(line, names)
        if line.startswith("refined = refine(image)"):
            assert names["refined"].shape == image.shape
    assert names["refined"].shape == (2, 1, 9, 14)
    assert names["augment"](image=image)["image"].shape == image.shape


def test_links_and_paths_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
    for row in re.findall(r"^\| [^|]+ \| (`[^|]*/[^|]*`.*) \|$", README, flags=re.M):
        for path in re.findall(r"`([^`]*/[^`]*)`", row):
            assert (ROOT / "refiner" / path).exists() or (ROOT / path).exists(), path


def test_the_demo_prints_the_lines_of_the_readme() -> None:
    printed = re.findall(r"```\n(gaze error.*?)```", README, flags=re.S)[0].splitlines()
    source = (ROOT / "refiner" / "demos" / "eyes.py").read_text(encoding="utf-8")
    for line in printed:
        assert f'("{line.split("  ")[0]}"' in source, line


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
