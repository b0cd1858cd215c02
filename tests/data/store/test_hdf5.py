"""Opening HDF5 files: what is wrong with a file is said, and a file system without locks is no obstacle."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.core.errors import DataError, OutputError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.formats.eyes.mpiigaze_hdf5 import MPIIGazeHDF5
from refiner.data.store.hdf5 import hdf5_errors, open_hdf5
from refiner.data.store.reader import Store
from refiner.images.io import write_image


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of three images."""
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.png", np.full((5, 9), number, np.uint8))
    return tmp_path / "in"


@pytest.fixture
def store(tmp_path: Path, images: Path) -> Path:
    """A store of these images."""
    convert(images, tmp_path / "eyes.h5", Conversion())
    return tmp_path / "eyes.h5"


@pytest.fixture
def held(store: Path) -> Iterator[Path]:
    """A store that another process has open for writing."""
    program = f"import h5py, time; f = h5py.File({str(store)!r}, 'r+'); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield store
    holder.kill()
    holder.wait()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def spoil(start: int, data: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[:start] + data + whole[start + len(data) :])

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, r"is truncated: it has ([\d,]+) of ([\d,]+) bytes; copy, download or make it again"),
        (lambda path: path.write_bytes(b""), "is empty; copy, download or make it again"),
        (spoil(0, b"XX"), "is not an HDF5 file, or its beginning is lost"),
        (spoil(8, b"\x09"), r"is damaged and cannot be opened as HDF5 \(bad superblock version number\)"),
        (spoil(20, b"xx"), r"is damaged and cannot be opened as HDF5 \(incorrect metadata checksum .*\)"),
    ],
    ids=["cut", "empty", "signature", "version", "checksum"],
)
def test_every_command_says_what_is_wrong_with_a_file(
    store: Path, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    size = store.stat().st_size
    damage(store)
    with pytest.raises(DataError, match=reason) as raised:
        open_hdf5(store)
    if "truncated" in reason:
        assert f"{size * 2 // 3:,} of {size:,} bytes" in str(raised.value)
    for command in (["inspect", store], ["convert", store, tmp_path / "out"]):
        result = CliRunner().invoke(main, [str(part) for part in command])
        assert result.exit_code == 1
        assert str(raised.value) in result.stderr
    onto = CliRunner().invoke(main, ["convert", str(tmp_path / "in"), str(store)])
    assert onto.exit_code == 2
    assert re.search(
        f"already exists, but {reason.partition('; ')[0]}.*; .* pass --overwrite to replace it", onto.stderr
    )
    with pytest.raises(DataError, match=reason):
        MPIIGazeHDF5(store)


def test_a_file_that_another_program_writes_is_refused_with_the_reason(held: Path, tmp_path: Path) -> None:
    reason = f"{held} is open for writing in another program; close it there, or wait until that program ends"
    for command in (["inspect", held], ["convert", held, tmp_path / "out"]):
        result = CliRunner().invoke(main, [str(part) for part in command])
        assert result.exit_code == 1
        assert reason in result.stderr


def test_a_file_whose_writer_was_killed_is_refused_with_the_remedy(held: Path) -> None:
    """HDF5 marks a file that is open for writing, and a killed program leaves the mark."""
    whole = held.read_bytes()
    held.unlink()
    held.write_bytes(whole)  # the same bytes in a file that nobody has locked
    with pytest.raises(DataError, match=r"or such a program was killed; .* h5clear -s"):
        open_hdf5(held)


def test_other_faults_of_the_path_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5 cannot be read \(No such file or directory\)"):
        open_hdf5(tmp_path / "none.h5")
    with pytest.raises(DataError, match="is not a regular file"):
        open_hdf5(tmp_path)


def test_a_file_system_without_locks_is_read_without_them(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = h5py.File

    def file(path: Any, mode: str, *, locking: bool | None = None) -> h5py.File:
        if locking is not False:
            raise OSError(errno.ENOLCK, "unable to lock file")
        return opened(path, mode, locking=locking)

    monkeypatch.setattr(h5py, "File", file)
    with open_hdf5(store) as found:
        assert len(found["images"]) == 3


def test_a_setting_that_forces_locks_where_there_are_none_is_named(tmp_path: Path) -> None:
    reason = r"a\.h5 cannot be locked, .* set HDF5_USE_FILE_LOCKING=FALSE"
    with pytest.raises(OutputError, match=reason), hdf5_errors(tmp_path / "a.h5"):
        raise OSError(errno.EOPNOTSUPP, "unable to lock file")


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs a C compiler on Linux")
@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_store_is_written_and_read_where_flock_fails(tmp_path: Path, images: Path, name: str) -> None:
    """A library that is loaded first replaces flock, for Python and for HDF5."""
    source, library = tmp_path / "flock.c", tmp_path / "flock.so"
    source.write_text(f"#include <errno.h>\nint flock(int file, int how) {{ errno = {name}; return -1; }}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    program = "from refiner.commands import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "convert", images, tmp_path / "a.h5"],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is not locked, as its file system has no locks") == 1
    assert Store(tmp_path / "a.h5").read_image("2.png").tolist() == np.full((5, 9), 2).tolist()


def test_damaged_names_of_labels_are_one_clear_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(group: h5py.Group) -> None:
        raise RuntimeError("Link iteration failed")

    opened = Store(store)
    monkeypatch.setattr(h5py.Group, "__iter__", fail)
    with pytest.raises(DataError, match=r"the labels of .*eyes\.h5 cannot be read \(Link iteration failed\)"):
        _ = opened.label_names
