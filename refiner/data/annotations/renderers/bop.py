"""Reader of BOP data sets, as BlenderProc and the BOP toolkit write them: poses, boxes and masks of objects.

A scene is a folder with ``rgb/000000.png`` or ``gray/000000.tif``, ``scene_gt.json``, ``scene_gt_info.json`` and
``scene_camera.json``, at any depth; masks are in ``mask_visib/000000_000001.png``, the image and then the object.
Scenes of several cameras add the camera to each name: ``rgb_cam1``, ``scene_gt_cam1.json``.

The boxes of BOP are the first pixel, and the difference to the last one. They become one pixel wider and higher, so
that they enclose the pixels. Source: the BOP toolkit, ``docs/bop_datasets_format.md`` and ``misc.calc_2d_bbox``.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from refiner.core.errors import DataError, ImageError
from refiner.data.annotations.json_records import read_json, read_record, record_places
from refiner.data.annotations.mask_images import mask_and_box, read_mask
from refiner.data.annotations.object_source import ObjectSource, checked, numbers
from refiner.data.labels.objects import AnnotationInfo, Box, Category, ImageAnnotations, ObjectLabel, RunLengths

_SCENE_FILE = re.compile(r"scene_(gt_info|gt_coco|gt|camera)(?:_(\w+))?\.json")
_PICTURE = re.compile(r"(\d+)(?:_(\d+))?")
_OBJECT = re.compile(rb'"obj_id"\s*:\s*(\d+)')

BOXES = ("bbox_visib", "bbox_obj")
"""Names of the boxes of BOP: that of the visible part, and that of the whole silhouette, hidden parts included."""

MASKS = ("mask_visib", "mask")
"""Folders of masks: of the visible parts, and of the whole silhouettes."""

LABEL_FOLDERS = (*MASKS, "depth", "nocs", "aolp", "dolp")
"""Folders of a scene whose pictures are labels."""


class Scene(NamedTuple):
    """The files of one camera in one scene.

    Attributes:
        folder: the scene's folder, relative to the data set.
        ending: what each name ends in if the scene has several cameras, such as ``_cam1``.
        files: annotation files by what they hold: ``gt``, ``gt_info``, ``gt_coco`` and ``camera``.
        images: the images by their numbers.
        label_images: pictures that are labels, each with its image.
    """

    folder: str
    ending: str
    files: Mapping[str, str]
    images: Mapping[int, Sequence[str]]
    label_images: Mapping[str, str | None]

    def number(self, sample: str) -> int:
        """Return the number of an image."""
        return int(PurePosixPath(sample).stem)

    def mask(self, kind: str, image: int, number: int) -> str:
        """Return the name of the mask of an object."""
        return f"{self.folder}{kind}{self.ending}/{image:06d}_{number:06d}.png"


class Bop(ObjectSource[int]):
    """The scenes of a BOP data set.

    Labels: ``objects``. Each has the number of its model as its class, or the model's name if ``models_info.json`` has
    one. ``extra`` holds what ``scene_gt.json`` and ``scene_gt_info.json`` say about it, such as the pose. ``entries``
    holds the record of ``scene_camera.json``, such as ``cam_K``, in which the top-left pixel has its centre at (0, 0).

    Args:
        root: the folder.
        scenes: the scenes in it.
        models: paths of ``models_info.json``, relative to the folder.
        label_images: pictures that are labels or textures of models, each with its image.
        constant_files: see :class:`refiner.data.annotations.source.LabelSource`.
    """

    format = "bop"

    def __init__(
        self,
        root: Path,
        scenes: Sequence[Scene],
        models: Sequence[str],
        label_images: Mapping[str, str | None],
        constant_files: frozenset[str] = frozenset(),
    ) -> None:
        self.constant_files = constant_files
        files = [name for scene in scenes for name in scene.files.values()]
        super().__init__(root, files, label_images)
        self.scenes, self.models = tuple(scenes), tuple(models)

    def _find_places(self) -> dict[str, int]:
        """Return the number of the scene of each image that a scene's files know, and of images that are missing."""
        places = {}
        for number, scene in enumerate(self.scenes):
            try:
                known = {int(key) for kind in ("gt", "camera") for key in self._keys(scene, kind) if key.isdecimal()}
            except DataError:  # told about each of its images
                known = set(scene.images)
            some = next(name for names in scene.images.values() for name in names)
            for image in sorted(known):
                missing = PurePosixPath(some).with_name(f"{image:06d}{PurePosixPath(some).suffix}").as_posix()
                places.update(dict.fromkeys(scene.images.get(image, [missing]), number))
        return places

    def _shrink(self) -> None:
        used = set(self.places.values())
        scenes = (scene._replace(images={}, label_images={}) for scene in self.scenes)
        empty = Scene("", "", {}, {}, {})
        self.scenes = tuple(scene if number in used else empty for number, scene in enumerate(scenes))

    def _keys(self, scene: Scene, kind: str) -> Mapping[str, tuple[int, int]]:
        return record_places(self.root / scene.files[kind]) if kind in scene.files else {}

    @functools.cached_property
    def names_of_models(self) -> dict[int, str]:
        """Names of the models that have one, by their numbers."""
        return {int(key): model["name"] for key, model in self._models.items() if isinstance(model.get("name"), str)}

    @functools.cached_property
    def _models(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name in self.models:
            models = checked(read_json(self.root / name), dict, str(self.root / name))
            found = {key: each for key, each in models.items() if key.isdecimal() and isinstance(each, dict)} | found
        return found

    @property
    def info(self) -> AnnotationInfo:
        """The classes: every model that is listed or used, by its number."""
        numbers_used = set(map(int, self._models))
        for scene in self.scenes:
            if "gt" in scene.files:
                numbers_used |= _object_numbers(self.root / scene.files["gt"])
        categories = [Category(number, self._class_name(number)) for number in sorted(numbers_used)]
        return AnnotationInfo(self.format, categories, {"models_info": self._models} if self._models else {})

    def _class_name(self, number: int) -> str:
        return self.names_of_models.get(number, str(number))

    def _read(self, sample: str, place: int) -> ImageAnnotations:
        scene = self.scenes[place]
        number = scene.number(sample)
        # Read the records of the image in the scene's files.
        objects, details, camera = (self._record(scene, kind, number) for kind in ("gt", "gt_info", "camera"))
        objects = checked(objects or [], list, f"its record in {scene.files.get('gt')}")
        details = checked(details or [{}] * len(objects), list, f"its record in {scene.files.get('gt_info')}")
        if len(details) != len(objects):
            raise ImageError(
                sample,
                f"has {len(objects)} objects in {scene.files['gt']}, but {len(details)} in {scene.files['gt_info']}",
            )
        # Join what they say about each object.
        found = []
        for index, (pose, detail) in enumerate(zip(objects, details, strict=True)):
            found.append(self._object(scene, number, index, pose, detail))
        entries = {} if camera is None else {scene.files["camera"]: {"im_id": number, **_camera(camera, scene)}}
        return ImageAnnotations(tuple(found), entries)

    def _record(self, scene: Scene, kind: str, number: int) -> Any:
        if kind not in scene.files:
            return None
        path = self.root / scene.files[kind]
        known = record_places(path)
        padded = f"{number:06d}"
        return read_record(path, padded if padded in known else str(number))

    def _object(self, scene: Scene, image: int, index: int, pose: Any, detail: Any) -> ObjectLabel:
        """Return one object of an image from its records in the files of poses and of boxes."""
        what = f"object {index} of image {image} in {scene.files['gt']}"
        fields = {**checked(pose, dict, what), **checked(detail, dict, what)}
        model = checked(fields.get("obj_id"), int, f"obj_id of {what}")
        for key, count in (("cam_R_m2c", 9), ("cam_t_m2c", 3)):
            if key in fields:
                numbers(fields[key], count, f"{key} of {what}")
        mask, box, of = self._shape(scene, image, index)
        for name in BOXES:
            if name in fields and (known := whole_box(numbers(fields[name], 4, f"{name} of {what}"))):
                box, of = known, name
                break
            if name in fields and name == "bbox_visib":  # nothing of the object can be seen
                mask, box, of = None, None, name
                break
        extra = {**fields, "box_of": of} if of else fields
        return ObjectLabel(str(index), self._class_name(model), box=box, mask=mask, file=scene.files["gt"], extra=extra)

    def _shape(self, scene: Scene, image: int, index: int) -> tuple[RunLengths | None, Box | None, str]:
        """Return the mask of an object, the box around it, and the kind of mask."""
        for kind in MASKS:
            path = self.root / scene.mask(kind, image, index)
            if path.is_file():
                return *mask_and_box(read_mask(path)), kind
        return None, None, ""


def whole_box(box: Sequence[float]) -> Box | None:
    """Return a box of BOP as edges of pixels; None if it says that nothing is visible."""
    left, top, width, height = box
    return None if width < 0 or height < 0 else (left, top, width + 1, height + 1)


def _camera(record: Any, scene: Scene) -> dict[str, Any]:
    what = f"its record in {scene.files['camera']}"
    camera: dict[str, Any] = checked(record, dict, what)
    if "cam_K" in camera:
        numbers(camera["cam_K"], 9, f"cam_K of {what}")
    return camera


def _object_numbers(path: Path) -> set[int]:
    """Return the numbers of the models in a file of poses, which is too large to be parsed for this alone."""
    try:
        with path.open("rb") as stream:
            return {int(found) for found in _OBJECT.findall(stream.read())}
    except OSError:  # told about each image of the scene
        return set()


def find(root: Path, files: Sequence[str], images: Sequence[str]) -> list[Bop]:
    """Return the BOP data set in a folder, if there is one; see :class:`refiner.data.annotations.source.LabelFormat`.

    A scene has a file of poses or cameras, and images in a folder of their own beside it.
    """
    # Find the annotation files of each folder and camera.
    scenes: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in (name for name in files if name.endswith(".json")):
        folder, slash, file = name.rpartition("/")
        if match := _SCENE_FILE.fullmatch(file):
            scenes[folder + slash, f"_{match[2]}" if match[2] else ""][match[1]] = name
    if not scenes:
        return []
    # Find the pictures below the same folders.
    pictures: dict[str, list[str]] = defaultdict(list)
    for name in (*images, *(name for name in files if name.endswith((".npy", ".npz", ".exr")))):
        pictures[name.rpartition("/")[0] + "/"].append(name)
    found = []
    for (folder, ending), kinds in sorted(scenes.items()):
        if ("gt" in kinds or "camera" in kinds) and (scene := _scene(folder, ending, kinds, pictures)):
            found.append(scene)
    if not found:
        return []
    # Textures of the models are no renders, either.
    models = sorted(name for name in files if f"/{name}".endswith("/models_info.json"))
    textures = [name for model in models for name in pictures.get(model.rpartition("/")[0] + "/", ())]
    label_images: dict[str, str | None] = dict.fromkeys(textures)
    for scene in found:
        label_images |= scene.label_images
    # Models and lists of targets hold no positions in images.
    folders = tuple(model.rpartition("/")[0] + "/" for model in models)
    constant = frozenset(
        name
        for name in files
        if name.startswith(folders) or re.fullmatch(r"test_targets_\w+\.json", name.rpartition("/")[2])
    )
    return [Bop(root, found, models, label_images, constant)]


def _scene(folder: str, ending: str, kinds: Mapping[str, str], pictures: Mapping[str, Sequence[str]]) -> Scene | None:
    """Return the scene of one camera; None if it has no images."""
    image_folders = [f"rgb{ending}", f"gray{ending}", *([ending[1:]] if ending else [])]
    numbered: dict[int, list[str]] = defaultdict(list)
    for inner in dict.fromkeys(image_folders):
        for name in pictures.get(f"{folder}{inner}/", ()):
            stem = _stem(name)
            if stem.isdecimal():
                numbered[int(stem)].append(name)
    if not numbered:
        return None
    label_images: dict[str, str | None] = {}
    for inner in LABEL_FOLDERS:
        for name in pictures.get(f"{folder}{inner}{ending}/", ()):
            match = _PICTURE.fullmatch(_stem(name))
            images = numbered.get(int(match[1])) if match else None
            label_images[name] = images[0] if images else None
    return Scene(folder, ending, kinds, dict(numbered), label_images)


def _stem(name: str) -> str:
    return name[name.rfind("/") + 1 : name.rfind(".")]
