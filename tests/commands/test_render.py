import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.tables import read_labels
from refiner.data.output import records_writer
from refiner.data.output.chunks import ChunkFiles
from refiner.data.store.reader import Store
from refiner.eyes import records
from refiner.eyes.calibration import Fit
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.arrays import to_uint8
from refiner.images.io import read_image


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["render", *map(str, arguments)])


def test_folder_with_labels(tmp_path: Path) -> None:
    out = tmp_path / "synthetic"
    result = run(out, "--count", 5, "--seed", 3, "--size", "35x55")
    assert result.exit_code == 0, result.output
    labels = read_labels(out / "labels.csv")
    eyes = render_eyes(EyeParameters(), range(5), seed=3, size=(35, 55))
    assert list(labels) == [f"{i:06d}.png" for i in range(5)]
    for number, (name, row) in enumerate(labels.items()):
        assert np.array_equal(read_image(out / name), to_uint8(eyes.images[number].numpy()))
        for label in ("gaze", "head_pose", "pupil"):
            assert row[label] == pytest.approx(getattr(eyes, label)[number].numpy(), abs=1e-5)
        assert row["iris_outline"].shape == (32, 2)
        assert row["lid_outline"].shape == (16, 2)


def test_unityeyes_layout_is_read_back_with_the_same_labels(tmp_path: Path) -> None:
    out = tmp_path / "ue"
    assert run(out, "--count", 4, "--size", "120x200", "--layout", "unityeyes", "--colour").exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [f"{i}.{s}" for i in range(1, 5) for s in ("jpg", "json")]
    scene = json.loads((out / "1.json").read_text())
    assert isinstance(scene["eye_details"]["look_vec"], str)
    assert (len(scene["interior_margin_2d"]), len(scene["caruncle_2d"]), len(scene["iris_2d"])) == (16, 7, 32)
    eyes = render_eyes(EyeParameters(), range(4), seed=0, size=(120, 200))
    dataset = open_dataset(out, size=(36, 60))
    for number, sample in enumerate(dataset.ids):
        labels = dataset.read(sample).labels
        assert labels["gaze"] == pytest.approx(eyes.gaze[number].numpy(), abs=2e-4)
        assert labels["head_pose"] == pytest.approx(eyes.head_pose[number].numpy(), abs=2e-4)


def test_images_of_the_target_camera_have_no_labels(tmp_path: Path) -> None:
    result = run(tmp_path / "real", "--target-camera", "--count", 3)
    assert result.exit_code == 0
    assert f"3 images of the simulated target camera in {tmp_path / 'real'}" in result.stdout
    assert sorted(path.suffix for path in (tmp_path / "real").iterdir()) == [".png"] * 3


def test_ranges_can_be_set(tmp_path: Path) -> None:
    assert run(tmp_path / "up", "--count", 6, "--set", "gaze.pitch_degrees=[5, 6]").exit_code == 0
    pitches = [row["gaze"][0] for row in read_labels(tmp_path / "up" / "labels.csv").values()]
    assert all(np.radians(5) <= pitch <= np.radians(6) for pitch in pitches)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--size", "60"], 2, "is not HEIGHTxWIDTH"),
        (["--set", "gaze.pitch=[1, 2]"], 2, "did you mean gaze.pitch_degrees?"),
        (["--set", "gaze.pitch_degrees=[2, 1]"], 2, "reversed"),
        (["--target-camera", "--layout", "unityeyes"], 2, "--target-camera"),
        (["--count", "0"], 2, "--count"),
    ],
)
def test_each_mistake_is_one_line(arguments: list, status: int, words: str, tmp_path: Path) -> None:
    result = run(tmp_path / "out", *arguments)
    assert result.exit_code == status
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    result = run(tmp_path, "--count", 1)
    assert result.exit_code == 2
    assert f"{tmp_path} already exists and is not empty; choose another folder, or pass --overwrite" in result.stderr
    result = run(tmp_path, "--count", 1, "--overwrite")
    assert result.exit_code == 2
    assert f"{tmp_path} holds mine.txt, which this command does not write" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("layout", "names"),
    [("folder", ["000000.png", "000001.png", "labels.csv"]), ("unityeyes", ["1.jpg", "1.json", "2.jpg", "2.json"])],
)
def test_a_folder_is_replaced_with_overwrite(layout: str, names: list[str], tmp_path: Path) -> None:
    arguments = ["--size", "60x100", "--layout", layout]
    for out, *options in (("a", 3), ("a", 2, "--seed", 5, "--overwrite"), ("b", 2, "--seed", 5)):
        result = run(tmp_path / out, *arguments, "--count", *options)
        assert result.exit_code == 0, result.output
    one, other = ({file.name: file.read_bytes() for file in (tmp_path / out).iterdir()} for out in ("a", "b"))
    assert sorted(one) == names
    assert one == other


def test_overwrite_deletes_no_file_of_another_name(tmp_path: Path) -> None:
    assert run(tmp_path / "a", "--count", 2, "--size", "9x15").exit_code == 0
    (tmp_path / "a" / "eye.png").touch()
    result = run(tmp_path / "a", "--count", 2, "--size", "9x15", "--overwrite")
    assert result.exit_code == 2
    assert "holds eye.png, which this command does not write, so --overwrite deletes nothing" in result.stderr
    assert len(list((tmp_path / "a").iterdir())) == 4


# --- stores ----------------------------------------------------------------------------------------------------


def stored(path: Path) -> tuple[np.ndarray, list[dict]]:
    store = Store(path)
    return np.stack([store.read_image(sample) for sample in store.ids]), [store.read(s).labels for s in store.ids]


def test_a_store_holds_what_a_folder_holds(tmp_path: Path) -> None:
    arguments = ["--count", 9, "--seed", 3, "--size", "18x30", "--colour"]
    assert run(tmp_path / "a", *arguments).exit_code == 0
    result = run(tmp_path / "a.h5", *arguments)
    assert result.exit_code == 0, result.output
    folder, store = open_dataset(tmp_path / "a"), open_dataset(tmp_path / "a.h5")
    assert list(folder.ids) == list(store.ids)
    for sample in folder.ids:
        one, other = folder.read(sample), store.read(sample)
        assert np.array_equal(one.image, other.image)
        assert one.labels.keys() == other.labels.keys()
        assert one.labels["gaze"] == pytest.approx(other.labels["gaze"], abs=0)
        assert one.labels["subject"] == other.labels["subject"]
        assert np.array_equal(one.labels["iris_outline"], other.labels["iris_outline"])


def test_images_of_the_target_camera_in_a_store_have_no_labels(tmp_path: Path) -> None:
    assert run(tmp_path / "a.h5", "--target-camera", "--count", 3).exit_code == 0
    assert stored(tmp_path / "a.h5")[1] == [{}] * 3


def test_a_store_is_made_once_and_another_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "a.h5"
    arguments = ["--count", 3, "--size", "9x15"]
    assert run(out, *arguments).exit_code == 0
    before = out.stat().st_mtime_ns
    assert run(out, *arguments).exit_code == 0
    assert out.stat().st_mtime_ns == before
    result = run(out, *arguments, "--seed", 5)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2,
        f"Error: {out} already exists and was made from other input or with other options; choose another name, or "
        "pass --overwrite to replace it",
    )
    assert run(out, *arguments, "--seed", 5, "--overwrite").exit_code == 0
    assert run(tmp_path / "b.h5", *arguments, "--seed", 5).exit_code == 0
    assert np.array_equal(stored(out)[0], stored(tmp_path / "b.h5")[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_a_killed_store_resumes_from_its_finished_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of several batches, the last one not full: the images equal those of an uninterrupted run."""
    monkeypatch.setattr(records_writer, "CHUNK", 5)
    monkeypatch.setattr(records, "BATCH", 2)
    arguments = ["--count", 12, "--size", "9x15"]
    assert run(tmp_path / "whole.h5", *arguments).exit_code == 0
    made: list[str] = []
    original = records_writer.write_chunk

    def killed(files: ChunkFiles, samples: object) -> object:
        made.append(files.lines.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return original(files, samples)

    monkeypatch.setattr(records_writer, "write_chunk", killed)
    assert run(tmp_path / "a.h5", *arguments).exit_code != 0
    assert not (tmp_path / "a.h5").exists()
    assert run(tmp_path / "a.h5", *arguments).exit_code == 0
    assert made == ["000000.jsonl", "000001.jsonl", "000001.jsonl", "000002.jsonl"]
    images, labels = stored(tmp_path / "a.h5")
    whole = stored(tmp_path / "whole.h5")
    assert np.array_equal(images, whole[0])
    assert [row["gaze"].tolist() for row in labels] == [row["gaze"].tolist() for row in whole[1]]
    eyes = render_eyes(EyeParameters(), range(12), seed=0, size=(9, 15))
    assert np.array_equal(images, [to_uint8(planes.numpy()) for planes in eyes.images])


def test_calibrated_ranges_replace_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Fit(EyeParameters(), (0.5,))
    monkeypatch.setattr("refiner.eyes.calibration.calibrate_on", lambda *_, **__: (fit, 3))
    (tmp_path / "real").mkdir()
    ranges = tmp_path / "out.yaml"
    ranges.write_text("mine: true\n")
    refused = run(tmp_path / "out", "--count", 2, "--calibrate", tmp_path / "real")
    assert refused.exit_code == 2
    assert f"{ranges} already exists and holds something else than the calibrated ranges" in refused.output
    assert ranges.read_text() == "mine: true\n"
    assert not (tmp_path / "out").exists()
    assert run(tmp_path / "out", "--count", 2, "--calibrate", tmp_path / "real", "--overwrite").exit_code == 0
    # Its own ranges are no obstacle for the same command.
    for _ in range(2):
        again = run(tmp_path / "out.h5", "--count", 2, "--calibrate", tmp_path / "real")
        assert again.exit_code == 0, again.output


def test_a_table_of_the_user_beside_a_store_stays(tmp_path: Path) -> None:
    (tmp_path / "out.rejected.csv").write_text("precious")
    assert run(tmp_path / "out.h5", "--count", 2).exit_code == 2
    assert run(tmp_path / "out.h5", "--count", 2, "--overwrite").exit_code == 0
    assert (tmp_path / "out.rejected.csv").read_text() == "precious"
