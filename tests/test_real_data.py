"""The main job on real renders and real photographs."""

import csv
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.images.io import read_image, write_image
from refiner.runs.checkpoints import list_checkpoints

SETTINGS = [
    *("--set", "steps=40", "--set", "batch_size=8", "--set", "checkpoint_every=10", "--set", "history_size=64"),
    *("--set", "pretraining.discriminator_steps=10", "--set", "refiner.features=8", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def patches(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 80 UnityEyes frames, cut to eyes and equalised like the photographs."""
    out = tmp_path_factory.mktemp("unityeyes") / "patches"
    arguments = ["convert", str(real_data / "unityeyes" / "deepmetis"), str(out), "--size", "36x60", "--grey"]
    assert CliRunner().invoke(main, [*arguments, "--equalize"]).exit_code == 0
    return out


def train(patches: Path, real_data: Path, run: Path) -> list[str]:
    """Return the command line of a training."""
    config = Path(__file__).parents[1] / "configs" / "eyes.yaml"
    data = [f"data.synthetic={patches}", f"data.real={real_data / 'mpiigaze_unlabelled' / 'crops_60x36'}"]
    words = (word for setting in data for word in ("--set", setting))
    return ["train", str(config), "--run", str(run), *words, *SETTINGS]


def test_train_on_real_eyes_killed_and_resumed_then_refine_a_messy_folder(
    patches: Path, real_data: Path, tmp_path: Path, start_python: Callable[..., BaseProcess]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def start(run: Path) -> BaseProcess:
        return start_python(f"from refiner.commands import main; main({train(patches, real_data, run)!r})")

    process = start(broken)
    deadline = time.monotonic() + 120
    while process.is_alive() and not list_checkpoints(broken / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    for process in (start(whole), start(broken)):
        process.join()
        assert process.exitcode == 0
    assert (whole / "refiner.safetensors").read_bytes() == (broken / "refiner.safetensors").read_bytes()

    messy = make_messy_folder(patches, real_data, tmp_path / "messy")
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["refine", str(messy), str(out), "--refiner", str(whole)])
    assert result.exit_code == 4, result.output
    with (out / "rejected.csv").open(newline="") as stream:
        assert [row["file"] for row in csv.DictReader(stream)] == ["empty.png", "half.jpg", "text.png"]
    sound = sorted(path.relative_to(messy) for path in messy.rglob("*.*") if path.stem not in ("empty", "half", "text"))
    for name in sound:
        before, after = read_image(messy / name), read_image(out / name)
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
    assert np.array_equal(read_image(out / "alpha.png")[..., 3], read_image(messy / "alpha.png")[..., 3])


def make_messy_folder(patches: Path, real_data: Path, folder: Path) -> Path:
    eye = read_image(patches / "000.png")
    for name in ("000.png", "ümläut and space/é ü.png"):
        write_image(folder / name, eye)
    write_image(folder / "deep.png", eye.astype(np.uint16) * 257)
    write_image(folder / "alpha.png", np.dstack([eye, eye // 2, eye // 3, eye]))
    write_image(folder / "dot.png", eye[:1, :1])
    frame = (real_data / "unityeyes" / "foamliu" / "000.jpg").read_bytes()
    (folder / "colour.jpg").write_bytes(frame)
    (folder / "half.jpg").write_bytes(frame[: len(frame) // 2])
    (folder / "text.png").write_text("no image", encoding="utf-8")
    (folder / "empty.png").write_bytes(b"")
    return folder


def test_preflight_names_the_equalisation_that_differs(real_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    arguments = ["convert", str(real_data / "unityeyes" / "deepmetis"), str(raw), "--size", "36x60", "--grey"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    command = train(raw, real_data, tmp_path / "run")
    result = CliRunner().invoke(main, [*command, "--set", "data.preflight=refuse"])
    assert result.exit_code == 1
    assert "real images are histogram-equalised and the renders are not" in result.stderr
    assert "--equalize" in result.stderr
