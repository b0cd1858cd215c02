"""Inputs of the wrong kind: each message says what the path is and what was expected, and wrong use exits with 2."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner

from refiner.commands import main

FAILED, WRONG_USE = 1, 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one path of each kind that users confuse."""
    root = tmp_path_factory.mktemp("place")
    for name in ("images", "empty", "run/checkpoints", "gaze/checkpoints"):
        (root / name).mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(root / "images" / f"{number}.png"), np.full((9, 15), 40 * number, np.uint8))
    (root / "run" / "config.yaml").write_text("steps: 3\n")
    (root / "gaze" / "config.yaml").write_text("network: small\nneighbours: {count: 5}\n")
    weights = {"a": np.arange(60, dtype=np.float32)}
    for kind in ("refiner", "estimator"):
        safetensors.numpy.save_file(weights, root / f"{kind}.safetensors", {kind: json.dumps({})})
    whole = (root / "refiner.safetensors").read_bytes()
    (root / "cut.safetensors").write_bytes(whole[:-7])
    (root / "text.safetensors").write_text("no weights")
    (root / "notes.txt").write_text("notes")
    (root / "bad.yaml").write_text("steps: [1")
    (root / "list.yaml").write_text("- 1")
    return root


CASES: list[tuple[str, int, str]] = [
    # A run, a refiner or an estimator in the place of another thing.
    ("report gaze", WRONG_USE, "gaze is the run folder of a gaze estimator, not a refiner"),
    ("report estimator.safetensors", WRONG_USE, "is an estimator file, not a refiner file"),
    ("report images", WRONG_USE, "images is a folder, not a refiner"),
    ("report run", WRONG_USE, "run holds no refiner.safetensors yet"),
    ("convert run out", WRONG_USE, "run is the run folder of a refiner, not a data set"),
    ("convert refiner.safetensors out", WRONG_USE, "is a refiner file, not a data set"),
    ("gaze evaluate images gaze", WRONG_USE, "the order is: ESTIMATOR... DATA"),
    ("gaze match images gaze images out", WRONG_USE, "the order is: ESTIMATOR SYNTHETIC REAL OUT"),
    ("gaze predict images gaze out.csv", WRONG_USE, "the order is: ESTIMATOR... DATA [OUT.csv]"),
    ("gaze correct-bias images gaze o.safetensors", WRONG_USE, "the order is: ESTIMATOR REAL OUT.safetensors"),
    ("gaze evaluate refiner.safetensors images", WRONG_USE, "is a refiner file, not an estimator file"),
    ("gaze evaluate gaze images", WRONG_USE, "gaze holds no estimator.safetensors yet"),
    ("refine images out --refiner estimator.safetensors", WRONG_USE, "is an estimator file, not a refiner file"),
    ("refine run out --refiner demo", WRONG_USE, "run is the run folder of a refiner; name a folder of images"),
    ("train gaze --dry-run", WRONG_USE, "gaze is a recipe of refiner gaze train; name one of"),
    ("gaze train eyes --dry-run", WRONG_USE, "eyes is a recipe of refiner train; name one of"),
    ("train debug --synthetic images --real images --run gaze", WRONG_USE, "gaze holds a run of a gaze estimator"),
    # Files that are something else, or damaged.
    ("refine notes.txt out --refiner demo", WRONG_USE, "notes.txt is a .txt file; name a folder of images"),
    ("convert notes.txt out", WRONG_USE, "notes.txt is a .txt file, not a data set"),
    ("convert images/0.png out", WRONG_USE, "is a single image, not a data set; name the folder that holds it"),
    ("inspect notes.txt", WRONG_USE, "notes.txt is a .txt file; expected a data set"),
    ("refine images out --refiner notes.txt", WRONG_USE, "notes.txt is a .txt file, not a refiner file"),
    ("refine images out --refiner cut.safetensors", FAILED, "is damaged: the last 7 bytes are missing"),
    ("refine images out --refiner text.safetensors", FAILED, "is damaged: its first bytes are not those"),
    # Outputs that are in the way.
    ("gaze evaluate gaze images --plots notes.txt", WRONG_USE, "--plots notes.txt is a file; name a folder"),
    ("refine images/0.png notes.txt/0.png --refiner demo", WRONG_USE, "notes.txt is a file; choose another output"),
    # Settings.
    ("train bad.yaml --dry-run", WRONG_USE, "bad.yaml is not valid YAML: line 1, column"),
    ("train list.yaml --dry-run", WRONG_USE, "holds no keys and values; expected lines such as"),
    ("train images --dry-run", WRONG_USE, "images is no recipe"),
    ("train eyes --dry-run --set steps=x", WRONG_USE, "steps is 'x', expected a whole number"),
    ("train eyes --dry-run --set size=abc", WRONG_USE, "size is 'abc', expected two numbers in brackets"),
    ("train eyes --dry-run --set ema_decay=2", WRONG_USE, "ema_decay is 2, expected a value less than 1"),
]


@pytest.mark.parametrize(("line", "status", "words"), CASES)
def test_the_message_names_the_kind_and_what_was_expected(
    line: str, status: int, words: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == status, result.output
    message = result.stderr.splitlines()[-1]
    assert message.startswith("Error: ")
    assert words in message
    for speech in ("deserializing", "Errno", "Traceback", "should be", "synchronously", "unicode string"):
        assert speech not in result.stderr
    assert not (place / "out").exists()


@pytest.mark.parametrize("command", ["train eyes", "gaze train gaze"])
def test_a_size_may_be_written_as_on_the_command_line(command: str) -> None:
    def printed(size: str) -> Any:
        return CliRunner().invoke(main, [*command.split(), "--dry-run", "--set", size]).stdout

    assert printed("size=24x40") == printed("size=[24, 40]")
    assert "- 24\n- 40\n" in printed("size=24x40")
