"""Reading stores: images, labels and subjects, from several processes, and files that are faulty or hostile."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refiner.core.errors import DataError, ImageError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.formats.registry import open_dataset
from refiner.data.store.hdf5 import FORMAT, FORMAT_VERSION
from refiner.data.store.reader import Store
from refiner.images.io import write_image

COUNT = 12


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (5, 9), dtype=np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of twelve grey images with labels."""
    for number in range(COUNT):
        write_image(tmp_path / "in" / f"{number:02d}.png", picture(number))
    rows = [
        f'{n:02d}.png,{n / 10},-0.2,p{n % 3},{n % 2},00{n},"[[1, {n}]]",ü {n}' if n else "00.png,,,,,,,"
        for n in range(COUNT)
    ]
    header = "file,gaze_pitch_rad,gaze_yaw_rad,subject,mirrored,code,outline,note/a"
    (tmp_path / "in" / "labels.csv").write_text("\n".join([header, *rows]))
    convert(tmp_path / "in", tmp_path / "eyes.h5", Conversion(), attributes={"licence": "mine"})
    return tmp_path / "eyes.h5"


def made(path: Path, **replaced: Any) -> Path:
    """A store of three images, with some of its data sets replaced; None leaves one out."""
    sets = {"images": np.zeros((3, 5, 9, 1), np.uint8), "ids": ["a.png", "b.png", "c.png"], **replaced}
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        for name, values in sets.items():
            if values is not None:
                file[name] = values
    return path


def test_it_is_recognised_and_read(path: Path) -> None:
    store = open_dataset(path)
    assert isinstance(store, Store)
    assert store.ids == [f"{n:02d}.png" for n in range(COUNT)]
    assert store.licence == "mine"
    assert str(store.kind) == "5x9 grey 8 bits"
    for number, sample in enumerate(store.ids):
        assert np.array_equal(store.read_image(sample), picture(number))
    record = store.read("07.png")
    assert record.id == "07.png"
    assert np.array_equal(record.image, picture(7))
    assert record.labels["gaze"].tolist() == [0.7, -0.2]
    assert record.labels["outline"].tolist() == [[1, 7]]
    assert {name: value for name, value in record.labels.items() if name not in ("gaze", "outline")} == {
        "subject": "p1",
        "mirrored": 1,
        "code": "007",
        "note/a": "ü 7",
    }
    assert store.subject("07.png") == "p1"
    assert store.read("00.png").labels == {}
    assert store.subject("00.png") is None


def test_arrays_of_several_shapes_are_arrays_again(tmp_path: Path) -> None:
    """Stored as text, and yet points that move with the pixels."""
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.png", picture(0))
    (tmp_path / "in" / "labels.csv").write_text('file,outline\na.png,"[[1, 2]]"\nb.png,"[[1, 2], [3, 4]]"\n')
    convert(tmp_path / "in", tmp_path / "a.h5", Conversion())
    assert Store(tmp_path / "a.h5").read("b.png").labels["outline"].tolist() == [[1, 2], [3, 4]]


def test_it_opens_again_after_it_was_closed(path: Path) -> None:
    store = Store(path)
    before = store.read_image("03.png")
    store.close()
    store.close()
    assert np.array_equal(store.read_image("03.png"), before)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_it_side_by_side(path: Path, method: str) -> None:
    store = Store(path)
    images = [store.read_image(sample) for sample in store.ids]  # open before the fork
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        found = list(pool.map(store.read_image, store.ids * 4, chunksize=3))
    assert all(np.array_equal(a, b) for a, b in zip(found, images * 4, strict=True))
    assert all(np.array_equal(store.read_image(sample), image) for sample, image in zip(store.ids, images))


def test_a_store_that_was_open_before_a_fork_is_opened_anew(path: Path) -> None:
    store = Store(path)
    sums = [int(store.read_image(sample).sum()) for sample in store.ids]
    context = multiprocessing.get_context("fork")
    queues = [context.SimpleQueue() for _ in range(2)]
    children = [context.Process(target=_inherit, args=(store, store.file, queue)) for queue in queues]
    for child in children:
        child.start()
    assert [int(store.read_image(sample).sum()) for sample in store.ids * 20] == sums * 20
    assert [queue.get() for queue in queues] == [(True, sums * 20)] * 2
    for child in children:
        child.join()


def _inherit(store: Store, inherited: h5py.File, queue: Any) -> None:
    anew = store.file is not inherited
    queue.put((anew, [int(store.read_image(sample).sum()) for sample in store.ids * 20]))


def test_threads_read_it_side_by_side(path: Path) -> None:
    store = Store(path)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda n: Store.read_image(store, f"{n % COUNT:02d}.png"), range(240)))
    assert all(np.array_equal(image, picture(n % COUNT)) for n, image in enumerate(images))


# --- faulty and hostile files ----------------------------------------------------------------------------------


def external_link(path: Path) -> None:
    made(path.with_name("other.h5"))
    with h5py.File(made(path, images=None), "a") as file:
        file["images"] = h5py.ExternalLink(str(path.with_name("other.h5")), "/images")


def soft_link(path: Path) -> None:
    with h5py.File(made(path, ids=None, names=["a", "b", "c"]), "a") as file:
        file["ids"] = h5py.SoftLink("/names")


def external_storage(path: Path) -> None:
    path.with_name("secret").write_bytes(b"x" * 135)
    with h5py.File(made(path, images=None), "a") as file:
        file.create_dataset("images", (3, 5, 9, 1), np.uint8, external=[(str(path.with_name("secret")), 0, 135)])


def virtual(path: Path) -> None:
    layout = h5py.VirtualLayout((3, 5, 9, 1), np.uint8)
    layout[:] = h5py.VirtualSource(str(made(path.with_name("other.h5"))), "images", (3, 5, 9, 1))
    with h5py.File(made(path, images=None), "a", libver="latest") as file:
        file.create_virtual_dataset("images", layout)


def truncated(path: Path) -> None:
    path.write_bytes(made(path).read_bytes()[:-400])


def of_another_version(path: Path) -> None:
    with h5py.File(made(path), "a") as file:
        file.attrs["format_version"] = 99


def with_attributes_that_are_arrays(path: Path) -> None:
    with h5py.File(made(path), "a") as file:
        file.attrs["format"] = [1, 2, 3]


def unknown(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1


FAULTS: list[tuple[Callable[[Path], Any], str]] = [
    (external_link, "is in another file"),
    (soft_link, "is in another file"),
    (external_storage, "is in another file"),
    (virtual, "is in another file"),
    (truncated, r"is truncated: it has [\d,]+ of [\d,]+ bytes; copy, download or make it again"),
    (of_another_version, "has format version 99; this release reads 1"),
    (with_attributes_that_are_arrays, "is HDF5, but not a store of simgan-refiner"),
    (unknown, "is HDF5, but not a store of simgan-refiner"),
    (Path.touch, "is empty; copy, download or make it again"),
    (lambda path: path.write_text("text" * 999), "is not an HDF5 file"),
    (lambda path: made(path, images=None), "/images is missing"),
    (lambda path: made(path, ids=None), "/ids is missing"),
    (lambda path: made(path, images=None, **{"images/x": [1]}), "/images is missing"),
    (lambda path: made(path, images=np.zeros((3, 5, 9), np.uint8)), r"expected \(N, H, W, C\)"),
    (lambda path: made(path, images=np.zeros((3, 5, 9, 1), np.float32)), r"float32 and ids .* expected"),
    (lambda path: made(path, images=np.zeros((3, 5, 9, 1), ">u2")), "expected"),
    (lambda path: made(path, images=np.zeros((3, 5, 9, 1), [("a", "u1")])), "expected"),
    (lambda path: made(path, images=7), "expected"),
    (lambda path: made(path, images=np.zeros((3, 5, 9, 2), np.uint8)), "with 1, 3 or 4 channels"),
    (lambda path: made(path, images=np.zeros((3, 0, 9, 1), np.uint8)), "expected at least one"),
    (lambda path: made(path, images=np.zeros((0, 5, 9, 1), np.uint8), ids=np.zeros(0, "S1")), "expected at least one"),
    (lambda path: made(path, ids=["a", "b"]), r"and ids \(2,\)"),
    (lambda path: made(path, ids=[["a"], ["b"], ["c"]]), r"and ids \(3, 1\)"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("format", [None, "store"])
def test_a_faulty_store_is_one_clear_error(
    tmp_path: Path, fault: Callable[[Path], Any], reason: str, format: str | None
) -> None:
    fault(tmp_path / "a.h5")
    with pytest.raises(DataError, match=rf"a\.h5 .*{reason}") as raised:
        _ = open_dataset(tmp_path / "a.h5", format=format).ids
    assert "\n" not in str(raised.value)


def test_two_images_of_one_id_are_an_error(tmp_path: Path) -> None:
    store = Store(made(tmp_path / "a.h5", ids=["a.png", "b.png", "a.png"]))
    with pytest.raises(DataError, match=r"two images with the id a\.png"):
        store.read("b.png")


def test_ids_of_other_types_are_text(tmp_path: Path) -> None:
    assert Store(made(tmp_path / "a.h5", ids=np.array([b"a", b"\xe4", b"c"]))).ids == ["a", "\udce4", "c"]
    assert Store(made(tmp_path / "b.h5", ids=[1, 2, 3])).ids == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"labels/gaze": np.zeros((3, 3))}, r"gaze has the shape \(3,\)"),
        ({"labels/gaze": np.zeros(3)}, r"gaze has the shape \(\)"),
        ({"labels/gaze": h5py.Empty("f8")}, "cannot be read"),
        ({"labels/gaze": np.zeros((1, 2))}, "cannot be read"),
        ({"labels/pupil": np.array([["a", "b"]] * 3, "S1")}, "cannot be read"),
        ({"labels/x": 5}, "cannot be read"),
        ({"labels/mirrored": np.array([2, 2, 2])}, "mirrored"),
        ({"labels/x": np.zeros(3, [("a", "u1"), ("b", "u1")])}, "cannot be read"),
        ({"subjects": ["p00"]}, "cannot be read"),
    ],
)
def test_labels_of_wrong_shapes_reject_their_image_only(tmp_path: Path, labels: dict[str, Any], reason: str) -> None:
    store = Store(made(tmp_path / "a.h5", **labels))
    assert store.read_image("b.png").shape == (5, 9)
    with pytest.raises(ImageError, match=f"b.png: its labels in .*{reason}"):
        store.read("b.png")


def test_a_label_that_lies_elsewhere_is_left_out(tmp_path: Path) -> None:
    with h5py.File(made(tmp_path / "a.h5"), "a") as file:
        file["labels/code"] = np.arange(3)
        file["labels/evil"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "/ids")
        file["subjects"] = h5py.ExternalLink(str(made(tmp_path / "b.h5")), "/ids")
        file.create_dataset("labels/raw", (3,), np.uint8, external=[("/etc/hostname", 0, 3)])
    assert set(Store(tmp_path / "a.h5").read("b.png").labels) == {"code"}


def test_one_flipped_bit_rejects_its_image_only(path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(4)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + 7] ^= 1
    path.write_bytes(data)
    store = Store(path)
    assert np.array_equal(store.read_image("03.png"), picture(3))
    with pytest.raises(ImageError, match=r"04\.png: its pixels in .*eyes\.h5 are damaged"):
        store.read_image("04.png")


@pytest.mark.parametrize("name", ["gaze", "head_pose"])
def test_angles_in_degrees_are_refused_by_name(tmp_path: Path, name: str) -> None:
    """Also the images whose angles are small, which would pass for radians; NaN is no label."""
    values = np.array([[1.5, -0.2], [np.nan, np.nan], [12.0, -30.0]])
    store = Store(made(tmp_path / "a.h5", **{f"labels/{name}": values}))
    with pytest.raises(DataError, match=f"/labels/{name} is beyond pi in 1 row, up to 30 and first in row 2"):
        store.read("a.png")
    assert store.read_image("a.png").shape == (5, 9)
    sound = Store(made(tmp_path / "b.h5", **{f"labels/{name}": np.array([[1.5, -0.2], [np.nan, np.nan], [-1.0, 3.1]])}))
    assert sound.read("c.png").labels[name].tolist() == [-1.0, 3.1]
