"""``refiner hands``: folders and stores of labelled depth."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.data.formats.nyu_hand import BACKGROUND
from refiner.data.formats.registry import open_dataset
from refiner.hands.skeleton import JOINTS


@pytest.mark.parametrize("out", ["hands", "hands.h5"])
def test_writes_labelled_depth(out: str, tmp_path: Path) -> None:
    arguments = ["hands", str(tmp_path / out), "--count", "3", "--size", "40x56", "--seed", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert f"3 labelled hands in {tmp_path / out}" in result.output
    dataset = open_dataset(tmp_path / out)
    record = dataset.read(dataset.ids[2])
    assert (record.image.shape, record.image.dtype) == ((40, 56), np.uint16)
    assert record.labels["joints"].shape == (len(JOINTS), 2)
    assert (record.image == BACKGROUND).any()
    assert CliRunner().invoke(main, arguments).exit_code == (2 if out == "hands" else 0)
    assert CliRunner().invoke(main, [*arguments, "--overwrite"]).exit_code == 0
    dataset = open_dataset(tmp_path / out)
    assert (len(dataset.ids), dataset.read_image(dataset.ids[2]).tolist()) == (3, record.image.tolist())


def test_the_depth_of_the_target_sensor_comes_in_steps(tmp_path: Path) -> None:
    for name, flags in (("clean", []), ("noisy", ["--target-sensor"])):
        assert CliRunner().invoke(main, ["hands", str(tmp_path / name), "--count", "2", *flags]).exit_code == 0
    clean, noisy = (open_dataset(tmp_path / name).read_image("000000.png") for name in ("clean", "noisy"))
    assert len(np.unique(noisy)) < len(np.unique(clean)) / 3
