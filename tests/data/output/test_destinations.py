"""Where a conversion writes: names, what counts as finished, what is kept, and who else may write there."""

import errno
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refiner.core.errors import ImageError, OutputError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.labels.records import Record
from refiner.data.labels.tables import read_labels
from refiner.data.output.chunks import Chunks, write_chunk
from refiner.data.output.folder_destination import FolderDestination, open_folder
from refiner.data.output.label_files import LabelFiles
from refiner.data.output.store_destination import StoreDestination, open_store
from refiner.data.store.reader import Store
from refiner.images.io import write_image

EYE = np.arange(45, dtype=np.uint8).reshape(5, 9)


def record(name: str) -> Record:
    if "bad" in name:
        raise ImageError(name, "is empty")
    return Record(name, EYE, {"subject": "p00"})


def make(destination: FolderDestination | StoreDestination, ids: list[str], *, job: str = "job") -> None:
    """Finish a conversion of some samples in one part."""
    chunks = Chunks(destination.chunks_folder, job=job, count=1)
    names = destination.names(ids)
    destination.claim(names)
    samples = [(sample, name, partial(record, sample)) for sample, name in zip(ids, names)]
    write_chunk(chunks.files(0, destination.images_folder), samples)
    destination.write_labels(chunks)
    destination.finish(chunks, job, "summary")


def folder(tmp_path: Path, *ids: str, job: str = "job", overwrite: bool = False) -> Path:
    with open_folder(tmp_path / "in", tmp_path / "out", LabelFiles(), grey=False, overwrite=overwrite) as destination:
        make(destination, list(ids), job=job)
    return tmp_path / "out"


def store(tmp_path: Path, *ids: str, job: str = "job", name: str = "a.h5") -> Path:
    with open_store(tmp_path / "in", tmp_path / name, attributes={"licence": "mine"}, overwrite=True) as destination:
        make(destination, list(ids), job=job)
    return tmp_path / name


def finished_folder(tmp_path: Path, job: str = "job") -> str | None:
    with open_folder(tmp_path / "in", tmp_path / "out", LabelFiles(), grey=False, overwrite=False) as destination:
        return destination.finished(job)


def files(root: Path) -> list[str]:
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if ".refiner" not in path.parts)


# --- folder ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["a.bmp", "b.TIF", "c.pgm", "d.webp"], ["a.bmp", "b.TIF", "c.pgm", "d.webp"]),
        (["a.jpg", "sub/b.JPEG"], ["a.png", "sub/b.png"]),
        (["a.jpg", "a.jpeg", "b.jpg"], ["a.jpg.png", "a.jpeg.png", "b.png"]),
        (["a.jpg", "a.png"], ["a.jpg.png", "a.png"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg.png", "a.png.png", "a.jpg.png.png"]),
        (["../a.jpg", "", "..", "/a"], ["../a.jpg", "", "..", "/a"]),
    ],
)
def test_lossless_suffixes_stay_and_no_two_names_are_one(tmp_path: Path, ids: list[str], names: list[str]) -> None:
    with open_folder(tmp_path / "in", tmp_path / "out", LabelFiles(), grey=False, overwrite=False) as destination:
        assert list(destination.names(ids)) == names


def test_grey_images_are_no_ppm(tmp_path: Path) -> None:
    with open_folder(tmp_path / "in", tmp_path / "out", LabelFiles(), grey=True, overwrite=False) as destination:
        assert list(destination.names(["a.ppm", "b.pgm"])) == ["a.png", "b.pgm"]


def test_a_folder_is_finished_while_all_of_it_is_there(tmp_path: Path) -> None:
    out = folder(tmp_path, "a.png", "bad.png")
    assert files(out) == ["a.png", "labels.csv", "rejected.csv"]
    assert finished_folder(tmp_path) == "summary"
    assert files(out) == ["a.png", "labels.csv", "rejected.csv"]  # the list of rejects is still true
    assert finished_folder(tmp_path, "other job") is None
    (out / "a.png").unlink()
    assert finished_folder(tmp_path) is None


def test_a_folder_that_another_job_began_to_change_is_not_finished(tmp_path: Path) -> None:
    out = folder(tmp_path, "a.png", "b.png")
    with open_folder(tmp_path / "in", out, LabelFiles(), grey=False, overwrite=False) as destination:
        destination.claim(["a.png"])  # and then the process is killed
    assert finished_folder(tmp_path) is None
    assert "labels.csv" not in files(out)  # it may not fit the images any longer


def test_what_an_older_job_wrote_goes_and_what_it_did_not_write_stays(tmp_path: Path) -> None:
    out = folder(tmp_path, "a.png", "b.png", "bad.png")
    (out / "notes.txt").write_text("mine")
    folder(tmp_path, "b.png", "c.png", job="other job")
    assert files(out) == ["b.png", "c.png", "labels.csv", "notes.txt"]
    assert list(read_labels(out / "labels.csv")) == ["b.png", "c.png"]


@pytest.mark.parametrize("name", ["../victim.png", "{victim}"])
def test_no_file_outside_is_claimed_or_removed(tmp_path: Path, name: str) -> None:
    """Neither for an id that leads out, nor for a manifest that came with somebody else's folder."""
    victim = tmp_path / "victim.png"
    victim.write_text("precious")
    name = name.format(victim=victim)
    out = folder(tmp_path, "a.png", name, overwrite=True)
    assert victim.read_text() == "precious"
    assert "leads out of its folder" in (out / "rejected.csv").read_text()
    with (out / ".refiner" / "manifest.jsonl").open("a") as stream:
        stream.write(json.dumps({"file": name}) + "\n" + json.dumps({"file": 7}) + "\n")
    folder(tmp_path, "b.png", job="other job")
    assert victim.read_text() == "precious"


# --- store -----------------------------------------------------------------------------------------------------


def test_a_store_has_images_labels_and_a_list_of_rejects_beside_it(tmp_path: Path) -> None:
    path = store(tmp_path, "a.png", "bad.png", "sub/b.png")
    assert files(tmp_path) == ["a.h5", "a.rejected.csv"]
    made = Store(path)
    assert made.ids == ["a.png", "sub/b.png"]
    assert np.array_equal(made.read_image("sub/b.png"), EYE)
    assert made.subject("a.png") == "p00"
    assert made.licence == "mine"
    store(tmp_path, "a.png", job="other job")
    assert files(tmp_path) == ["a.h5"]


def test_a_store_of_another_job_is_refused(tmp_path: Path) -> None:
    path = store(tmp_path, "a.png")
    with open_store(tmp_path / "in", path, attributes={}, overwrite=False) as destination:
        assert destination.finished("job") == "summary"
        with pytest.raises(OutputError, match=r"a\.h5 already exists and was made from other input"):
            destination.finished("other job")
    with open_store(tmp_path / "in", path, attributes={}, overwrite=True) as destination:
        assert destination.finished("job") is None
    assert files(tmp_path) == ["a.h5"]


@pytest.mark.parametrize("data", [b"", b"years of work"])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(data)
    with (
        pytest.raises(OutputError, match="already exists"),
        open_store(tmp_path / "in", tmp_path / "a.h5", attributes={}, overwrite=False) as destination,
    ):
        destination.finished("job")
    assert files(tmp_path) == ["a.h5"]  # and no folder of chunks beside it
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_the_parts_of_a_run_that_was_killed_while_it_removed_them_go(tmp_path: Path) -> None:
    path = store(tmp_path, "a.png")
    (tmp_path / "a.h5.parts" / "parts").mkdir(parents=True)
    (tmp_path / "a.h5.parts" / "parts" / "000000.h5").touch()
    with open_store(tmp_path / "in", path, attributes={}, overwrite=False) as destination:
        assert destination.finished("job")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        open_store(tmp_path / "in", tmp_path / "a.h5", attributes={}, overwrite=True),
        pytest.raises(OutputError, match=r"another process is writing .*a\.h5"),
        open_store(tmp_path / "in", tmp_path / "a.h5", attributes={}, overwrite=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "path", "reason"),
    [
        ("in", "in/a.h5", "must not contain each other"),
        ("a.h5", "a.h5", "must not contain each other"),
        ("in", "file/a.h5", "file is a file"),
        ("in", "folder.h5", "is a folder; choose another name"),
    ],
)
def test_places_that_cannot_be_written_are_refused(tmp_path: Path, source: str, path: str, reason: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(OutputError, match=reason),
        open_store(tmp_path / source, tmp_path / path, attributes={}, overwrite=True),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_is_full_at_the_end_costs_nothing_but_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.replace

    def full(path: Path, destination: Path) -> Any:
        if destination.suffix == ".h5" and destination.parent == tmp_path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, destination)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OutputError, match=r"a\.h5 cannot be written .*No space left on device"):
            store(tmp_path, "a.png")
    assert not (tmp_path / "a.h5").exists()
    with open_store(tmp_path / "in", tmp_path / "a.h5", attributes={}, overwrite=False) as destination:
        chunks = Chunks(destination.chunks_folder, job="job", count=1)
        assert chunks.unfinished() == []
        destination.finish(chunks, "job", "summary")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["summary"] == "summary"
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_a_list_of_rejects_that_is_not_ours_is_kept(tmp_path: Path) -> None:
    for number in range(2):
        write_image(tmp_path / "in" / f"{number}.png", np.full((4, 6), number, np.uint8))
    (tmp_path / "out.rejected.csv").write_text("my,notes\n")
    with pytest.raises(OutputError, match=r"out.rejected.csv already exists and was not written by refiner"):
        convert(tmp_path / "in", tmp_path / "out.h5", Conversion())
    assert (tmp_path / "out.rejected.csv").read_text() == "my,notes\n"
    (tmp_path / "in" / "bad.png").touch()
    convert(tmp_path / "in", tmp_path / "out.h5", Conversion(), overwrite=True)
    assert (tmp_path / "out.rejected.csv").read_text().startswith("file,stage,reason\nbad.png,")
    convert(tmp_path / "in", tmp_path / "out.h5", Conversion(), overwrite=True)
