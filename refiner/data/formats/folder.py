"""Reader of plain image folders, searched recursively, with labels from a table or from annotation files."""

import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from refiner.core.errors import ImageError, WrongInputError
from refiner.data.folders.contents import (
    FolderContents,
    explain_no_images,
    is_unsupported,
    read_contents,
    why_unsupported,
)
from refiner.data.folders.labels import FolderLabels, open_labels, with_drift_objects, with_mask_objects
from refiner.data.folders.left_out import LeftOut, find_left_out
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.labels.objects import AnnotationInfo
from refiner.data.labels.records import Labels, Record
from refiner.images.io import Image, read_image, read_picture

log = logging.getLogger(__name__)


class ImageFolder:
    """Images in a folder tree; see :class:`refiner.data.formats.registry.Dataset`.

    Layout: image files at any depth, and optional labels: ``labels.csv``, see :mod:`refiner.data.labels.tables`, and
    annotations in any format of :data:`refiner.data.annotations.registry.READERS`. Images are uint8 or uint16, (H, W)
    grey, (H, W, 3) RGB or (H, W, 4) RGBA. ``gaze`` and ``head_pose`` are (pitch, yaw) in radians, points are (x, y) in
    pixels. Label images, such as masks, are no samples; see :mod:`refiner.data.folders.label_images`.

    Args:
        root: the folder.
        size, crop: not used; images are read whole and at their own size.
        selection: the files to use.
        masks: a mask or a folder of masks whose files are no samples, if it is in ``root``.

    Attributes:
        objects_from_masks: take the masks as labels, if there are no annotated objects; see
            :mod:`refiner.data.annotations.masks`. Set it before the labels are read.
        drift_from_masks: take the masks as labels where ``refiner refine`` measures drift on them; likewise.

    Raises:
        DataError: ``root`` is not a folder.
    """

    licence = "not stated"

    def __init__(
        self,
        root: Path,
        *,
        size: tuple[int, int] | None = None,
        crop: bool = True,
        selection: Selection = EVERYTHING,
        masks: Path | None = None,
    ) -> None:
        if not root.is_dir():
            raise WrongInputError(f"{root} is not a folder; name the folder that holds the images")
        self.root, self.selection, self.masks = root, selection, masks
        self.objects_from_masks = self.drift_from_masks = False

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether the path is a folder, since any folder has this layout."""
        return root.is_dir()

    @cached_property
    def contents(self) -> FolderContents:
        """The files of the folder by their use."""
        return read_contents(self.root, self.selection, masks=self.masks)

    @cached_property
    def ids(self) -> list[str]:
        """Relative paths of all images, sorted; those of types that are not supported fail when they are read.

        Raises:
            DataError: the folder holds no images.
        """
        if not self.contents.images:
            raise WrongInputError(explain_no_images(self.root, self.contents))
        return sorted([*self.contents.images, *self.contents.unsupported])

    @cached_property
    def labels(self) -> Mapping[str, Labels]:
        """Labels by sample id, read image by image; an empty mapping, not :class:`FolderLabels`, if there are none.

        Raises:
            DataError: the label table cannot be read, or none of its rows names an image.
        """
        labels = open_labels(self.root, self.contents)
        if self.objects_from_masks:
            labels = with_mask_objects(self.root, self.contents, labels)
        elif self.drift_from_masks:
            labels = with_drift_objects(self.root, self.contents, labels)
        if labels is None:
            return {}
        for problem in labels.problems[:5]:
            log.warning("%s", problem)
        return labels

    @property
    def info(self) -> AnnotationInfo | None:
        """Facts about the annotated objects of the folder, such as their classes; None if it has none."""
        return self.labels.info if isinstance(self.labels, FolderLabels) else None

    @cached_property
    def left_out(self) -> list[LeftOut]:
        """Reports about rows without image, images without row, label images and other files.

        Raises:
            DataError: the table cannot be read, or none of its rows names an image.
        """
        labels = self.labels
        return find_left_out(self.root, self.contents, labels if isinstance(labels, FolderLabels) else None)

    def subject(self, sample: str) -> str | None:
        """Return the subject from the label table; None if it names none."""
        return self.labels.get(sample, {}).get("subject")

    def read_image(self, sample: str) -> Image:
        """Read one image, without its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        if is_unsupported(sample):
            raise ImageError(self.root / sample, why_unsupported(sample))
        return read_image(self.root / sample)

    def read(self, sample: str) -> Record:
        """Read one image with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        if is_unsupported(sample):
            raise ImageError(self.root / sample, why_unsupported(sample))
        image, profile = read_picture(self.root / sample)
        return Record(sample, image, self.labels.get(sample, {}), profile)
