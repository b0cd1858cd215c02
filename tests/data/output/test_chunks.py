"""A batch in chunks: whole or absent, thrown away when the job is another, and never outside the folder."""

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refiner.core.errors import ImageError, OutputError
from refiner.data.labels.records import Record
from refiner.data.output.chunks import Chunks, Line, fingerprint, write_chunk, write_lines
from refiner.images.io import read_image

EYE = np.arange(45, dtype=np.uint8).reshape(5, 9)


def given(record: Record) -> Record:
    return record


def fail(reason: str) -> Record:
    raise ImageError("bad.png", reason)


def sample(name: str, image: np.ndarray = EYE, **labels: Any) -> tuple[str, str, Callable[[], Record]]:
    return name, name, partial(given, Record(name, image, labels))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def chunks(tmp_path: Path) -> Chunks:
    return Chunks(tmp_path / "chunks", job="job", count=3)


def test_a_part_is_finished_when_its_lines_are_there(chunks: Chunks) -> None:
    assert chunks.unfinished() == [0, 1, 2]
    write_chunk(chunks.files(1, None), [sample("a.png")])
    assert chunks.unfinished() == [0, 2]
    assert Chunks(chunks.folder, job="job", count=3).unfinished() == [0, 2]


@pytest.mark.parametrize(("job", "count"), [("other job", 3), ("job", 4)])
def test_parts_of_another_job_are_thrown_away(chunks: Chunks, job: str, count: int) -> None:
    write_chunk(chunks.files(1, None), [sample("a.png")])
    assert len(Chunks(chunks.folder, job=job, count=count).unfinished()) == count
    assert files(chunks.folder) == ["job.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\xff"])
def test_a_torn_job_costs_the_parts_and_no_traceback(chunks: Chunks, text: str) -> None:
    write_chunk(chunks.files(1, None), [sample("a.png")])
    (chunks.folder / "job.json").write_text(text, encoding="latin-1")
    assert Chunks(chunks.folder, job="job", count=3).unfinished() == [0, 1, 2]


def test_images_of_a_store_and_lines_come_back_in_order(chunks: Chunks) -> None:
    write_chunk(chunks.files(2, None), [sample("d.png", EYE + 3)])
    write_chunk(chunks.files(0, None), [sample("a.png", subject="p00", mirrored=True), sample("b\udce4.png", EYE + 1)])
    write_chunk(chunks.files(1, None), [("bad.png", "bad.png", partial(fail, "is empty"))])
    kind = "5x9 grey 8 bits"
    assert list(chunks.lines()) == [
        Line("a.png", "a.png", kind, {"subject": "p00", "mirrored": "1"}),
        Line("b\udce4.png", "b\udce4.png", kind, {}),
        Line("bad.png", reason="is empty"),
        Line("d.png", "d.png", kind, {}),
    ]
    images = []
    for path in chunks.images():
        with h5py.File(path) as file:
            images += list(file["images"][..., 0])
    assert [int(image[0, 0]) for image in images] == [0, 1, 3]


def test_images_of_a_folder_are_files(chunks: Chunks, tmp_path: Path) -> None:
    lines = write_chunk(chunks.files(0, tmp_path / "out"), [("x.jpg", "sub/x.png", partial(given, Record("x", EYE)))])
    assert lines == [Line("x.jpg", "sub/x.png", "5x9 grey 8 bits")]
    assert np.array_equal(read_image(tmp_path / "out" / "sub" / "x.png"), EYE)
    assert files(chunks.folder) == ["000000.jsonl", "job.json"]


def test_other_kinds_are_counted_and_not_written(chunks: Chunks) -> None:
    lines = write_chunk(chunks.files(0, None), [sample("a.png"), sample("b.png", EYE[:4]), sample("c.png")])
    assert [line.kind for line in lines] == ["5x9 grey 8 bits", "4x9 grey 8 bits", "5x9 grey 8 bits"]
    with h5py.File(chunks.images_path(0)) as file:
        assert len(file["images"]) == 2


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "..", "", ".", "/", "a\0.png"])
@pytest.mark.parametrize("folder", [True, False])
def test_names_that_lead_out_are_rejected_unread(chunks: Chunks, tmp_path: Path, name: str, folder: bool) -> None:
    before = files(tmp_path)
    line = write_chunk(chunks.files(0, tmp_path / "out" if folder else None), [(name, name, partial(fail, "was read"))])
    assert line == [Line(name, reason="has a name that leads out of its folder")]
    assert files(tmp_path) == sorted([*before, "chunks/000000.jsonl"])


def test_names_that_only_look_dangerous_are_written(chunks: Chunks, tmp_path: Path) -> None:
    names = ["..a.png", "a/..b.png", "~.png", "-x.png", "a b.png", "C:\\x.png"]
    lines = write_chunk(chunks.files(0, tmp_path / "out"), [sample(name) for name in names])
    assert [line.name for line in lines] == names
    assert files(tmp_path / "out") == sorted(names)


@pytest.mark.parametrize(("text", "reason"), [("a\0b", "a NUL character"), ("\ud800", "not UTF-8 text")])
def test_labels_that_no_table_can_hold_reject_their_image_only(chunks: Chunks, text: str, reason: str) -> None:
    first, second = write_chunk(chunks.files(0, None), [sample("a.png", note=text), sample("b.png", note="ü")])
    assert reason in first.reason
    assert second.cells == {"note": "ü"}


def test_stopping_leaves_the_part_unfinished(chunks: Chunks) -> None:
    samples = [sample("a.png"), ("bad.png", "bad.png", partial(fail, "is empty"))]
    with pytest.raises(ImageError, match=r"bad\.png: is empty"):
        write_chunk(chunks.files(0, None), samples, stop_on_error=True)
    assert files(chunks.folder) == ["job.json"]


def test_an_error_of_the_reader_is_not_taken_for_a_full_disk(chunks: Chunks) -> None:
    def broken() -> Record:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write_chunk(chunks.files(0, None), [sample("a.png"), ("b.png", "b.png", broken)])
    assert files(chunks.folder) == ["job.json"]


def test_a_full_disk_leaves_no_part(chunks: Chunks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.replace

    def full(path: Path, target: Path) -> Any:
        if target.suffix == ".jsonl":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"000000\.jsonl cannot be written \(No space left on device\)"):
        write_lines(chunks.lines_path(0), [Line("a.png")])
    assert files(chunks.folder) == ["job.json"]


def test_fingerprints_tell_texts_apart() -> None:
    texts = [("a", "b"), ("ab",), ("a", ""), ("a",), ("a", ["b", "c"]), ("a", ["b"], "d"), ("\udce4",)]
    assert len({fingerprint(*text) for text in texts}) == len(texts)
    assert fingerprint("a", ["b"]) == fingerprint("a", iter(["b"])) == fingerprint("a", "b")
