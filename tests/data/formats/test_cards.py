"""The cards in datasets/: every convert command runs on a miniature, and every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.data.formats.registry import FORMATS

DATASETS = Path(__file__).parents[3] / "datasets"
CARDS = sorted(DATASETS.glob("*.md"))

MINIATURES = {
    "renders": "folder",
    "columbia_patches": "folder",
    "imgs": "unityeyes",
    "SynthesEyes_data": "syntheseyes",
    "MPIIGaze": "mpiigaze",
    "MPIIGaze.h5": "mpiigaze-hdf5/MPIIGaze.h5",
    "real_gaze.h5": "gaze-hdf5/real_gaze.h5",
    "train": "nyu-hand",
}
"""What a command calls its input, and the sample that stands in."""


def commands() -> list[str]:
    blocks = [
        block for card in CARDS for block in re.findall(r"```shell\n(.*?)```", card.read_text("utf-8"), flags=re.S)
    ]
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", commands())
def test_the_command_of_a_card_runs(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = shlex.split(line)
    assert (program, arguments[0]) == ("refiner", "convert")
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    source = Path("in", arguments[1])
    source.symlink_to(DATASETS / "samples" / MINIATURES[arguments[1]])
    arguments[1] = str(source)
    result = CliRunner().invoke(main, [*arguments, "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".")]) > 1


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_links_lead_somewhere(card: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", card.read_text(encoding="utf-8")):
        assert link.startswith("http") or (card.parent / link).exists(), link


def test_every_format_stands_in_the_table() -> None:
    contents = (DATASETS / "README.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"`{name}`" not in contents and name != "store"] == []
    assert {card.name for card in CARDS} - {"README.md"} == set(re.findall(r"\]\((\w+\.md)", contents))
