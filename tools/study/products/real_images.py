"""Stages of a study that copy real images: the target, and the images that adaptation or training sees."""

from typing import Any

from refiner.core.errors import DataError
from refiner.core.rng import numpy_generator
from refiner.data.conversion import Conversion
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.records import Record
from refiner.gaze.data import LabelledPatches, load_patches
from tools.study.halves import part_numbers
from tools.study.products.accuracy import group_column
from tools.study.products.stores import IMAGES_FILE, write_store
from tools.study.tasks import Place, Task, input_folders

Metrics = dict[str, Any]


def make_target(task: Task, place: Place) -> Metrics:
    """Convert the images of the target that have a gaze to the study's size."""
    dataset = open_dataset(place.target)
    height, width = task.settings["size"]
    conversion = Conversion(size=(height, width), grey=True, equalized=task.settings["equalize"])
    records = [conversion.apply(record) for record in map(dataset.read, dataset.ids) if "gaze" in record.labels]
    if not records:
        raise DataError(
            f"{place.target} holds {len(dataset.ids)} images, but none has a gaze; name a labelled folder or store"
        )
    write_store(task.folder(place.out), records, source=place.target.name)
    return {"images": len(records)}


def make_real(task: Task, place: Place) -> Metrics:
    """Copy the images that adaptation and calibration see, without their labels."""
    real = seen_images(task, place)
    records = [Record(name, image[0]) for name, image in zip(real.ids, real.images, strict=True)]
    write_store(task.folder(place.out), records, source=place.target.name)
    return {"images": len(records)}


def make_unlabelled(task: Task, place: Place) -> Metrics:
    """Copy the images that adaptation sees without their gaze, for co-teaching."""
    real = seen_images(task, place)
    poses = [{}] * len(real) if real.head_pose is None else [{"head_pose": pose} for pose in real.head_pose]
    records = [Record(name, image[0], labels) for name, image, labels in zip(real.ids, real.images, poses, strict=True)]
    write_store(task.folder(place.out), records, source=place.target.name)
    return {"images": len(records)}


def seen_images(task: Task, place: Place, *, head_pose: bool = False) -> LabelledPatches:
    """Return the images that adaptation may see, or a random subset of the wanted size."""
    patches, numbers = _part(task, place, head_pose=head_pose)
    count = task.settings.get("count", len(numbers))
    if count > len(numbers):
        raise DataError(
            f"real_count is {count}, but the target has only {len(numbers)} images; choose a smaller number"
        )
    if "count" in task.settings:
        rng = numpy_generator(task.settings["seed"], "photographs")
        numbers = sorted(rng.choice(numbers, size=count, replace=False).tolist())
    return patches.take(numbers)


def make_labelled(task: Task, place: Place) -> Metrics:
    """Copy images of the target with their labels, to train an estimator on real labels."""
    patches, numbers = _part(task, place)
    labels: dict[str, Any] = {"gaze": patches.gaze} | (
        {} if patches.head_pose is None else {"head_pose": patches.head_pose}
    )
    labels |= {name: patches.columns[name] for name in ("subject",) if name in patches.columns}
    records = [
        Record(
            patches.ids[number],
            patches.images[number, 0],
            {name: values[number] for name, values in labels.items()},
        )
        for number in numbers
    ]
    write_store(task.folder(place.out), records, source=place.target.name)
    return {"images": len(records)}


def _part(task: Task, place: Place, *, head_pose: bool = False) -> tuple[LabelledPatches, list[int]]:
    """Return the target, and the numbers of the images in one part of it."""
    settings = task.settings
    store, target = input_folders(task, place)["target"] / IMAGES_FILE, task.inputs["target"].settings
    height, width = target["size"]
    posed = head_pose or settings.get("head_pose", False)
    patches = load_patches([store], size=(height, width), equalize=False, head_pose=posed, key="target")
    parts = part_numbers(group_column(patches, settings["group"]), settings.get("split", 0))
    return patches, parts[settings["part"]]
