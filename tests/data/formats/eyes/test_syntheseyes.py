"""SynthesEyes: labels out of file names, signs on real renders, and pickles that are never opened."""

import csv
import logging
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.eyes.syntheseyes import SynthesEyes, parse_name
from refiner.data.formats.folder import ImageFolder
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.records import column_values
from refiner.images.io import read_image, write_image

RENDER = np.arange(8 * 12 * 4, dtype=np.uint16).astype(np.uint8).reshape(8, 12, 4)


class Trap:
    """A pickle of this makes a file when it is read."""

    def __reduce__(self) -> tuple[type[open], tuple[str, str]]:
        return open, ("sprung", "w")


def test_names_say_gaze_and_subject(tmp_path: Path) -> None:
    for name in ("f01_12_-0.1963_0.3927", "sub/m05_7_0.0000_-0.0000"):
        write_image(tmp_path / f"{name}.png", RENDER)
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, SynthesEyes)
    assert dataset.ids == ["f01_12_-0.1963_0.3927.png", "sub/m05_7_0.0000_-0.0000.png"]
    first, second = (dataset.read(sample) for sample in dataset.ids)
    assert first.labels["gaze"].tolist() == [-0.1963, 0.3927]
    assert [dataset.subject(sample) for sample in dataset.ids] == ["f01", "m05"]
    assert [first.labels["subject"], second.labels["subject"]] == ["f01", "m05"]
    assert math.copysign(1, second.labels["gaze"][1]) == 1  # -0.0000 is zero
    assert np.array_equal(first.image, RENDER)  # alpha stays
    assert np.array_equal(dataset.read_image(dataset.ids[0]), RENDER)


STEPS = st.integers(-8, 8).map(lambda step: step * 3.1416 / 16)


@given(st.sampled_from("fm"), st.integers(0, 99), st.integers(0, 999), STEPS, STEPS)
def test_every_name_of_the_data_set_is_read(sex: str, face: int, number: int, pitch: float, yaw: float) -> None:
    name = parse_name(f"{sex}{face:02d}_{number}_{pitch:.4f}_{yaw:.4f}")
    assert name.subject == f"{sex}{face:02d}"
    assert (name.pitch, name.yaw) == pytest.approx((pitch, yaw), abs=5e-5)


@given(st.text("fm019_.-einfa", max_size=30))
def test_any_name_is_read_or_refused(stem: str) -> None:
    try:
        name = parse_name(stem)
    except ValueError:
        return
    assert max(abs(name.pitch), abs(name.yaw)) <= 1.571


@pytest.mark.parametrize(
    "stem",
    ["f01_12_-0.1963", "f01_12_nan_0.1", "f01_12_1e-1_0.1", "x01_12_0.1_0.2", "f01_12_0.1_0.2_b", "f01_12_1.6000_0.1"],
)
def test_a_name_that_says_nothing_rejects_that_image(tmp_path: Path, stem: str) -> None:
    write_image(tmp_path / "f01_1_0.1000_0.2000.png", RENDER)
    write_image(tmp_path / f"{stem}.png", RENDER)
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, SynthesEyes)
    (bad,) = set(dataset.ids) - {"f01_1_0.1000_0.2000.png"}
    for ask in (dataset.read, dataset.subject):
        with pytest.raises(ImageError, match="its name holds"):
            ask(bad)
    assert dataset.read_image(bad).shape == RENDER.shape


def test_pickles_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "SynthesEyes_data"
    write_image(folder / "f01" / "f01_1_0.1000_0.2000.png", RENDER)
    (folder / "f01" / "f01_1_0.1000_0.2000.pkl").write_bytes(pickle.dumps(Trap()))
    with caplog.at_level(logging.WARNING, "refiner"):
        dataset = open_dataset(folder)
        assert [dataset.read(sample).id for sample in dataset.ids] == ["f01/f01_1_0.1000_0.2000.png"]
        assert dataset.ids
    assert [record.getMessage() for record in caplog.records] == [
        f"the 1 pickles in {folder} are not read; labels come from the file names"
    ]
    (folder / "f01" / "f01_1_0.1000_0.2000.png").unlink()
    with pytest.raises(DataError, match="only pickles, which are not read, since reading one runs the code"):
        _ = open_dataset(folder).ids
    assert not (tmp_path / "sprung").exists()


def test_other_folders_are_not_taken_for_it(tmp_path: Path) -> None:
    write_image(tmp_path / "f01.png", RENDER)
    assert isinstance(open_dataset(tmp_path), ImageFolder)
    write_image(tmp_path / "f01_1_0.1000_0.2000.png", RENDER)
    assert isinstance(open_dataset(tmp_path), SynthesEyes)
    (tmp_path / "labels.csv").write_text("file\n")  # what we converted keeps its table
    assert isinstance(open_dataset(tmp_path), ImageFolder)
    assert not SynthesEyes.recognises(tmp_path / "f01.png")
    assert not SynthesEyes.recognises(tmp_path / "absent")
    with pytest.raises(DataError, match="is not a folder"):
        SynthesEyes(tmp_path / "f01.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        _ = SynthesEyes(tmp_path / "empty").ids


# --- real renders ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(real_data: Path) -> Path:
    return real_data / "syntheseyes" / "images"


def test_real_names_give_the_independent_table(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert isinstance(dataset, SynthesEyes)
    with (folder.parent / "labels.csv").open() as stream:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(stream)}
    assert sorted(rows) == dataset.ids
    assert len(rows) == 26
    for sample in dataset.ids:
        record = dataset.read(sample)
        expected = [float(rows[sample][column]) for column in ("gaze_pitch_rad", "gaze_yaw_rad")]
        assert record.labels["gaze"] == pytest.approx(expected)
        assert record.labels["subject"] == "f01"
        assert record.image.shape == (80, 120, 4)
        assert (record.image[..., 3] == 255).all()


def test_on_real_renders_the_pupil_follows_the_signs(folder: Path) -> None:
    """The darkest pixels of the eye: to the image's left with positive yaw, up with positive pitch."""
    dataset = open_dataset(folder)
    gaze = column_values([dataset.read(sample).labels for sample in dataset.ids], "gaze")
    assert gaze is not None
    pupils = []
    for sample in dataset.ids:
        grey = read_image(folder / sample)[..., :3].mean(axis=2)[20:60, 25:95]
        y, x = np.nonzero(grey <= np.quantile(grey, 0.04))
        pupils.append((x.mean(), y.mean()))
    x, y = np.array(pupils).T
    assert np.corrcoef(x, gaze[:, 1])[0, 1] < -0.6
    assert np.corrcoef(y, gaze[:, 0])[0, 1] < -0.6
