"""Write a small sample of every data set layout, made of our own images: python -m tools.build.samples OUT

The eyes are procedural renders, and the hand is made of spheres. Equal versions on one machine give equal bytes.
``datasets/samples`` was written by this program.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from refiner.data.labels.angles import to_vectors
from refiner.data.labels.records import Record
from refiner.data.output.records_writer import write_folder
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.unityeyes_writer import write_unityeyes
from refiner.images.io import write_image


def eyes(count: int, *, seed: int, size: tuple[int, int] = (36, 60), channels: int = 1, each: int = 2) -> list[Record]:
    """Render labelled eyes, ``each`` of a person."""
    parameters = EyeParameters(images_per_person=each)
    return list(rendered_records(parameters, count, seed=seed, size=size, channels=channels))


def write_plain(out: Path) -> None:
    """Write a folder of PNG files with labels.csv."""
    records = eyes(6, seed=1, each=1)
    write_folder(out, iter(records), len(records), labelled=True, report=lambda done, total: None)


def write_unityeyes_frames(out: Path) -> None:
    """Write pairs such as 1.jpg and 1.json."""
    records = eyes(3, seed=2, size=(90, 120), channels=3)
    write_unityeyes(out, iter(records), len(records), report=lambda done, total: None)


def write_syntheseyes(out: Path) -> None:
    """Write RGBA files whose names hold subject, number, pitch and yaw."""
    for number, record in enumerate(eyes(3, seed=3, size=(40, 60), channels=3), 1):
        face = "f01" if number < 3 else "m01"
        pitch, yaw = record.labels["gaze"]
        opaque = np.full((*record.image.shape[:2], 1), 255, np.uint8)
        write_image(
            out / face / f"{face}_{number}_{pitch:.4f}_{yaw:.4f}.png", np.concatenate([record.image, opaque], 2)
        )


def day_of(records: list[Record]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Return MPIIGaze's structures: left eyes as rendered, right eyes flipped, because reading mirrors them."""
    day = {}
    for side, turn in (("left", 1), ("right", -1)):
        gaze = np.array([record.labels["gaze"] for record in records]) * (1, turn)
        head = np.array([record.labels["head_pose"] for record in records]) * (1, turn)
        day[side] = {
            "gaze": to_vectors(gaze),
            "image": np.stack([record.image[:, ::turn] for record in records]),
            "pose": Rotation.from_euler("YX", head[:, ::-1] * (1, -1)).as_rotvec(),
        }
    return day


def write_mpiigaze(out: Path) -> None:
    """Write a person in MATLAB's version 5, another in version 7.3, and the evaluation lists."""
    normalized = out / "Data" / "Normalized"
    records = eyes(3, seed=4)
    for person in ("p00", "p01"):
        (normalized / person).mkdir(parents=True)
    save_v5(
        normalized / "p00" / "day01.mat",
        {"data": day_of(records[:2]), "filenames": cells(["0001.jpg", "0002.jpg"])},
    )
    save_v73(normalized / "p01" / "day02.mat", day_of(records[2:]), ["0007.jpg"])
    lists = out / "Evaluation Subset" / "sample list for eye image"
    lists.mkdir(parents=True)
    (lists / "p00.txt").write_text("day01/0002.jpg left\nday01/0001.jpg right\n")
    (lists / "p01.txt").write_text("day02/0007.jpg left\n")


def cells(texts: list[str]) -> np.ndarray[Any, Any]:
    """Return a MATLAB column cell."""
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column


def save_v5(path: Path, variables: dict[str, Any]) -> None:
    """Write a MATLAB 5 file whose header does not hold the time of day."""
    savemat(path, variables, do_compression=True)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 5.0 MAT-file, written by simgan-refiner".ljust(116))


def save_v73(path: Path, day: dict[str, dict[str, np.ndarray[Any, Any]]], filenames: list[str]) -> None:
    """Write a MATLAB 7.3 file: a header of 512 bytes, then HDF5 with reversed axes and texts by reference."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for side, fields in day.items():
            for name, values in fields.items():
                kind = "uint8" if values.dtype == np.uint8 else "double"
                file.create_dataset(f"data/{side}/{name}", data=values.T).attrs["MATLAB_class"] = np.bytes_(kind)
        cell = file.create_dataset("filenames", (1, len(filenames)), h5py.ref_dtype)
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        for number, name in enumerate(filenames):
            text = file.create_dataset(f"#refs#/a{number}", data=np.array([[ord(c)] for c in name], np.uint16))
            text.attrs["MATLAB_class"] = np.bytes_("char")
            cell[0, number] = text.ref
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, written by simgan-refiner".ljust(124) + b"\x00\x02IM")


def write_mpiigaze_hdf5(out: Path) -> None:
    """Write MPIIGaze.h5 in the layout of hysts/pytorch_mpiigaze."""
    out.mkdir(parents=True)
    with h5py.File(out / "MPIIGaze.h5", "w") as file:
        for number, person in enumerate(("p00", "p01")):
            records = eyes(2, seed=5 + number)
            file[f"{person}/image"] = np.stack([record.image for record in records])
            file[f"{person}/gaze"] = np.array([record.labels["gaze"] for record in records], np.float32)
            file[f"{person}/pose"] = np.array([record.labels["head_pose"] for record in records], np.float32)


def write_gaze_hdf5(out: Path) -> None:
    """Write real_gaze.h5 of 4quant, with a data set for each image."""
    out.mkdir(parents=True)
    with h5py.File(out / "real_gaze.h5", "w") as file:
        for number, record in enumerate(eyes(3, seed=7, size=(35, 55))):
            file[f"image/{number}.png"] = record.image


def hand_joints(turn: float) -> np.ndarray[Any, Any]:
    """Return 36 joints (36, 3) of a spread hand in mm, x right, y up, z away: five fingers of six, then the palm."""
    fingers = []
    for angle, length in zip((-28, -9, 9, 27, 68), (62, 78, 82, 74, 58), strict=True):
        way = np.array([math.sin(math.radians(angle)), math.cos(math.radians(angle)), -0.1])
        reach = 45 if angle < 60 else 25
        fingers.append([way * (reach + length * part) for part in np.linspace(1, 0, 6)])
    palm = [(-25, -45, 4), (25, -45, 4), (0, 0, 0), (-20, 10, 0), (20, 10, 0), (0, -20, 2)]
    joints = np.concatenate([np.concatenate(fingers), np.array(palm, float)])
    return np.asarray(joints @ Rotation.from_euler("zy", [turn, turn / 2]).as_matrix().T + (-60, 20, 760))


def hand_depth(joints: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a depth map (480, 640) in millimetres: spheres along the bones, and infinity elsewhere."""
    bones = [(start, start + 1) for start in range(30) if start % 6 != 5]
    bones += [(knuckle, 35) for knuckle in (5, 11, 17, 23, 29)] + [(30, 35), (31, 35), (30, 33), (31, 34), (33, 34)]
    nearest = np.full((480, 640), np.inf)
    v, u = np.mgrid[:480, :640]
    for first, second in bones:
        radius = 8.5 if second != 35 else 15.0
        for part in np.linspace(0, 1, 7):
            x, y, z = joints[first] * (1 - part) + joints[second] * part
            aside, up = (u - 320) * z / 588.03 - x, (240 - v) * z / 587.07 - y
            bulge = radius**2 - aside**2 - up**2
            nearest = np.where(bulge > 0, np.minimum(nearest, z - np.sqrt(np.maximum(bulge, 0))), nearest)
    return nearest


def write_nyu_hand(out: Path) -> None:
    """Write depth frames with a wall behind the hand, renders without a wall, and joint_data.mat."""
    xyz = np.stack([hand_joints(turn) for turn in (0.1, -0.3)])[None]
    x, y, z = np.moveaxis(xyz, -1, 0)
    uvd = np.stack([320 + 588.03 * x / z, 240 - 587.07 * y / z, z], axis=-1)
    for number, joints in enumerate(xyz[0], 1):
        depth = hand_depth(joints)
        for kind, behind in (("depth", 2001), ("synthdepth", 0)):
            levels = np.rint(np.where(np.isfinite(depth), depth, behind)).astype(np.uint16)
            coded = np.stack([levels * 0, levels >> 8, levels & 255], axis=-1).astype(np.uint8)
            write_image(out / f"{kind}_1_{number:07d}.png", coded)
    names = cells([f"J{number}" for number in range(36)])
    save_v5(out / "joint_data.mat", {"joint_names": names, "joint_uvd": uvd, "joint_xyz": xyz})


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "folder": write_plain,
    "unityeyes": write_unityeyes_frames,
    "syntheseyes": write_syntheseyes,
    "mpiigaze": write_mpiigaze,
    "mpiigaze-hdf5": write_mpiigaze_hdf5,
    "gaze-hdf5": write_gaze_hdf5,
    "nyu-hand": write_nyu_hand,
}


@click.command()
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
def main(out: Path) -> None:
    """Write a small sample of every layout into new folders of OUT."""
    for name in LAYOUTS:
        if (out / name).exists():
            raise click.ClickException(f"{out / name} already exists; choose another folder, or remove it")
    for name, write in LAYOUTS.items():
        write(out / name)
        click.echo(f"{out / name}")


if __name__ == "__main__":
    main()
