"""What a path leads to, said in a few words, for every kind of path that a command may be given."""

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import safetensors.numpy

from refiner.core.path_kinds import is_network, missing_bytes, path_kind


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinds")
    weights = {"a": np.arange(6, dtype=np.float32)}
    for kind in ("refiner", "estimator", "other"):
        safetensors.numpy.save_file(weights, root / f"{kind}.safetensors", {kind: json.dumps({})})
    for suffix in ("png", "jpg", "tif", "bmp", "webp", "pgm"):
        cv2.imwrite(str(root / f"image.{suffix}"), np.zeros((3, 5), np.uint8))
    with h5py.File(root / "store.h5", "w") as file:
        file["images"] = np.zeros(2)
    (root / "notes.txt").write_text("notes")
    (root / "nothing").touch()
    for name in ("empty", "plain", "run", "gaze", "started"):
        (root / name).mkdir()
    (root / "plain" / "config.yaml").touch()  # a settings file makes no run
    for name, settings in (("run", "size: [3, 5]\n"), ("started", "network: small\nneighbours: {count: 5}\n")):
        (root / name / "config.yaml").write_text(settings)
        (root / name / "checkpoints").mkdir()
    (root / "gaze" / "estimator.safetensors").touch()
    return root


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("refiner.safetensors", "a refiner file"),
        ("estimator.safetensors", "an estimator file"),
        ("other.safetensors", "a safetensors file of another program"),
        *((f"image.{suffix}", "an image") for suffix in ("png", "jpg", "tif", "bmp", "webp", "pgm")),
        ("store.h5", "an HDF5 file"),
        ("notes.txt", "a .txt file"),
        ("nothing", "an empty file"),
        ("absent", "missing"),
        ("empty", "an empty folder"),
        ("plain", "a folder"),
        ("run", "the run folder of a refiner"),
        ("gaze", "the run folder of a gaze estimator"),
        ("started", "the run folder of a gaze estimator"),
    ],
)
def test_every_kind_is_named(paths: Path, name: str, kind: str) -> None:
    assert path_kind(paths / name) == kind
    assert is_network(kind) == (name in ("refiner.safetensors", "estimator.safetensors", "run", "gaze", "started"))


@pytest.mark.parametrize("missing", [0, 1, 24])
def test_the_missing_bytes_of_a_cut_file_are_counted(paths: Path, tmp_path: Path, missing: int) -> None:
    whole = (paths / "refiner.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) - missing])
    assert missing_bytes(tmp_path / "cut.safetensors") == missing
    assert missing_bytes(paths / "notes.txt") is None
