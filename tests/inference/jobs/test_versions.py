"""Several refined versions of each render: values by an independent formula, labels of each, stores, shards, kills."""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.core.errors import OutputError, UsageError
from refiner.core.parallel.shards import Shard
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.drift.table import DriftLimit
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.tables import write_labels
from refiner.images.io import read_image, write_image
from refiner.inference.jobs import folder_worker
from refiner.inference.jobs.refine import refine_path
from refiner.inference.refiner import Refiner
from refiner.inference.transforms import RefineImages
from refiner.models.adapted import adapted_refiner
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork
from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner

SIZE = (10, 16)
COUNT = 12
REALS = np.random.default_rng(5).normal(0.35, 0.1, (40, *SIZE)).clip(0, 1)
BETA = (0.1, 0.45)


@pytest.fixture(params=["fourier", "histogram", "adapted"])
def refiner(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A grey refiner that draws."""
    return save(tmp_path / "refiner.safetensors", request.param)


def save(path: Path, method: str) -> Path:
    module: FourierRefiner | HistogramRefiner
    if method in ("fourier", "adapted"):
        module = FourierRefiner(FourierArchitecture(1, len(REALS), SIZE, BETA))
    else:
        module = HistogramRefiner(HistogramArchitecture(1, len(REALS), blend=(0.3, 1)))
    module.fit(0, torch.from_numpy(REALS[:, None] * 2 - 1))
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(features=3, blocks=1))
    save_refiner(path, adapted_refiner(module, network) if method == "adapted" else module, training={})
    return path


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    """Renders with a table of gaze, a label image and a text file each."""
    rng, labels = np.random.default_rng(1), {}
    for number in range(COUNT):
        name = f"{number:02d}"
        write_image(tmp_path / "in" / f"{name}.png", rng.integers(60, 200, SIZE).astype(np.uint8))
        write_image(tmp_path / "in" / f"{name}_mask.png", (rng.random(SIZE) > 0.5).astype(np.uint8) * 255)
        (tmp_path / "in" / f"{name}.json").write_text(json.dumps({"scene": number}))
        labels[f"{name}.png"] = {"gaze": rng.uniform(-0.3, 0.3, 2), "subject": f"s{number % 3}"}
    write_labels(tmp_path / "in" / "labels.csv", labels)
    return tmp_path / "in"


def images_of(folder: Path) -> dict[str, Any]:
    return {f"{n:02d}.png": read_image(folder / f"{n:02d}.png") for n in range(COUNT)}


def contents(folder: Path, *, other_than: tuple[str, ...] = ()) -> dict[str, bytes]:
    files = (file for file in sorted(folder.iterdir()) if file.is_file() and file.name not in other_than)
    return {file.name: file.read_bytes() for file in files}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["refine", *map(str, arguments), "--device", "cpu"])


def test_a_version_is_the_draw_of_the_pixels_and_the_number(renders: Path, tmp_path: Path) -> None:
    """Fourier adaptation by NumPy's transform, with the choice by hashlib."""
    refine_path(renders, tmp_path / "out", save(tmp_path / "r.safetensors", "fourier"), device="cpu", versions=3)
    rows, columns = (np.abs(np.fft.fftfreq(side, 1 / side)) for side in SIZE)
    for name, image in images_of(renders).items():
        for version, folder in enumerate(("out", "out_v1", "out_v2")):
            draw = hashlib.sha256(image.tobytes()).digest()
            if version:
                draw = hashlib.sha256(draw + bytes([version, 0, 0, 0, 0, 0, 0, 0])).digest()
            real = REALS[int.from_bytes(draw[:8], "little") % len(REALS)]
            beta = BETA[0] + int.from_bytes(draw[8:14], "little") / 2**48 * (BETA[1] - BETA[0])
            inside = np.maximum(rows[:, None], columns[None]) <= int(min(SIZE) * beta)
            spectrum = np.fft.fft2(image / 255)
            amplitude = np.where(inside, np.abs(np.fft.fft2(real)), np.abs(spectrum))
            expected = np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum))).real.clip(0, 1) * 255
            assert np.abs(read_image(tmp_path / folder / name) - expected).max() <= 0.501


def test_each_version_is_a_whole_output_with_all_labels(refiner: Path, renders: Path, tmp_path: Path) -> None:
    refine_path(renders, tmp_path / "single", refiner, device="cpu")
    done: list[tuple[int, int]] = []
    summary = refine_path(
        renders, tmp_path / "out", refiner, device="cpu", versions=3, report=lambda *pair: done.append(pair)
    )
    assert (summary.refined, summary.skipped, summary.rejected) == (3 * COUNT, 0, 0)
    assert done == sorted(done)
    assert done[-1] == (3 * COUNT, 3 * COUNT)
    assert contents(tmp_path / "out") == contents(tmp_path / "single")  # version 0 is what one version is
    folders = [tmp_path / name for name in ("out", "out_v1", "out_v2")]
    source = open_dataset(renders)
    for folder in folders:
        dataset = open_dataset(folder)
        assert dataset.ids == source.ids
        for name in source.ids:
            found, expected = dataset.read(name), source.read(name)
            assert np.array_equal(found.labels["gaze"], expected.labels["gaze"])
            assert found.labels["subject"] == expected.labels["subject"]
        for name, data in contents(renders).items():
            if name not in source.ids:  # masks, texts and the table, byte for byte
                assert (folder / name).read_bytes() == data, name
        rows = (folder / "drift.csv").read_text().splitlines()[1:]
        assert {row.partition(",")[0] for row in rows} == set(source.ids)
    versions = [images_of(folder) for folder in folders]
    for name in source.ids:
        assert len({version[name].tobytes() for version in versions}) >= 2
    assert sum(np.array_equal(versions[1][name], versions[2][name]) for name in source.ids) <= 1


def test_stores_shards_workers_and_python_agree(refiner: Path, renders: Path, tmp_path: Path) -> None:
    refine_path(renders, tmp_path / "out", refiner, device="cpu", versions=2)
    refine_path(renders, tmp_path / "workers", refiner, device="cpu", versions=2, workers=2)
    for index in (1, 2):
        refine_path(renders, tmp_path / "shards", refiner, device="cpu", versions=2, shard=Shard(index, 2))
    assert refine_path(renders, tmp_path / "shards", refiner, device="cpu", versions=2).skipped == 2 * COUNT
    for suffix in ("", "_v1"):
        expected = contents(tmp_path / f"out{suffix}")
        assert contents(tmp_path / f"workers{suffix}") == contents(tmp_path / f"shards{suffix}") == expected
    # A store, whose versions keep its labels.
    convert(renders, tmp_path / "in.h5", Conversion(), attributes={})
    refine_path(tmp_path / "in.h5", tmp_path / "out.h5", refiner, device="cpu", versions=2)
    refine = Refiner.from_pretrained(refiner, device="cpu", version=1)
    assert refine.version == 1
    for suffix in ("", "_v1"):
        images = images_of(tmp_path / f"out{suffix}")
        with h5py.File(tmp_path / f"out{suffix}.h5") as file, h5py.File(tmp_path / "in.h5") as source:
            assert np.array_equal(file["images"][..., 0], np.stack(list(images.values())))
            assert np.array_equal(file["labels/gaze"], source["labels/gaze"])
            assert np.array_equal(file["ids"], source["ids"])
    # Python, and a pipeline.
    transform = RefineImages(refiner, version=1)
    for name, image in images_of(renders).items():
        assert np.array_equal(refine(image), read_image(tmp_path / "out_v1" / name))
        assert np.array_equal(transform(image=image)["image"], read_image(tmp_path / "out_v1" / name))
    assert "version 1" in repr(refine)


def test_a_killed_job_resumes_and_more_versions_are_added(
    refiner: Path, renders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refine_path(renders, tmp_path / "whole", refiner, device="cpu", versions=3)
    write, written = folder_worker.write_image, []

    def stop(path: Path, *arguments: Any, **options: Any) -> None:
        if len(written) == COUNT + 5:  # in the middle of version 1
            raise KeyboardInterrupt
        written.append(path)
        write(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(folder_worker, "write_image", stop)
        with pytest.raises(KeyboardInterrupt):
            refine_path(renders, tmp_path / "out", refiner, device="cpu", versions=2)
    summary = refine_path(renders, tmp_path / "out", refiner, device="cpu", versions=2)
    assert summary.skipped >= COUNT
    assert summary.refined + summary.skipped == 2 * COUNT
    added = refine_path(renders, tmp_path / "out", refiner, device="cpu", versions=3)
    assert (added.refined, added.skipped) == (COUNT, 2 * COUNT)
    for suffix in ("", "_v1", "_v2"):
        assert contents(tmp_path / f"out{suffix}") == contents(tmp_path / f"whole{suffix}")
    # The folder of one version is not taken for that of another.
    refine_path(renders, tmp_path / "out_v2", refiner, device="cpu")
    assert contents(tmp_path / "out_v2") == contents(tmp_path / "out")


def test_each_version_rejects_its_own_images(refiner: Path, renders: Path, tmp_path: Path) -> None:
    every = DriftLimit(1e-9, tmp_path / "kept")
    summary = refine_path(renders, tmp_path / "out", refiner, device="cpu", versions=2, limit=every)
    assert summary.rejected > COUNT
    for suffix in ("", "_v1"):
        kept = {file.name for file in (tmp_path / f"kept{suffix}").glob("[0-9][0-9].png")}
        left = {file.name for file in (tmp_path / f"out{suffix}").glob("[0-9][0-9].png")}
        assert kept | left == set(images_of(renders))
        assert not kept & left
        assert len((tmp_path / f"out{suffix}" / "rejected.csv").read_text().splitlines()) == len(kept) + 1


def test_the_command_names_the_versions_and_one_image_has_them_too(renders: Path, tmp_path: Path) -> None:
    refiner = save(tmp_path / "r.safetensors", "fourier")
    result = run(renders, tmp_path / "out", "--refiner", refiner, "--versions", 2)
    assert result.exit_code == 0
    assert f"2 versions: {tmp_path / 'out'}, {tmp_path / 'out_v1'}" in result.stdout
    found = json.loads(run(renders, tmp_path / "out", "--refiner", refiner, "--versions", 2, "--json").stdout)
    assert found["outputs"] == [str(tmp_path / "out"), str(tmp_path / "out_v1")]
    assert run(renders / "03.png", tmp_path / "eye.png", "--refiner", refiner, "--versions", 2).exit_code == 0
    assert np.array_equal(read_image(tmp_path / "eye.png"), read_image(tmp_path / "out" / "03.png"))
    assert np.array_equal(read_image(tmp_path / "eye_v1.png"), read_image(tmp_path / "out_v1" / "03.png"))


def test_refiners_that_draw_nothing_and_overlapping_outputs_are_refused(renders: Path, tmp_path: Path) -> None:
    save_refiner(tmp_path / "network", RefinerNetwork(RefinerArchitecture(features=4, blocks=1)), training={})
    result = run(renders, tmp_path / "out", "--refiner", tmp_path / "network", "--versions", 2)
    assert result.exit_code == 2
    assert "the refiner draws nothing at random (4 features, 1 blocks), so that all versions" in result.stderr
    assert not (tmp_path / "out").exists()
    assert run(renders, tmp_path / "out", "--refiner", tmp_path / "network", "--versions", 1).exit_code == 0
    with pytest.raises(UsageError, match="draws nothing at random"):
        Refiner.load(tmp_path / "network", device="cpu", version=1)
    refiner = save(tmp_path / "r.safetensors", "fourier")
    with pytest.raises(ValueError, match="version is -1"):
        Refiner.load(refiner, device="cpu", version=-1)
    with pytest.raises(UsageError, match="--versions is 0"):
        refine_path(renders, tmp_path / "new", refiner, versions=0)
    # Nothing is begun if a later version would replace the renders or another output.
    moved = renders.rename(tmp_path / "new_v2")
    with pytest.raises(OutputError, match="must not contain each other"):
        refine_path(moved, tmp_path / "new", refiner, device="cpu", versions=3)
    with pytest.raises(OutputError, match="would hold two outputs of this job"):
        refine_path(moved, tmp_path / "new", refiner, versions=2, limit=DriftLimit(1.0, tmp_path / "new_v1" / "kept"))
    assert not (tmp_path / "new").exists()
