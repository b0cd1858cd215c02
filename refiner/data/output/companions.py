"""Files beside images in a conversion: label images and tables go along where they still fit the images."""

import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from refiner.core.errors import ImageError
from refiner.core.files import atomic_path, check_regular, read_regular, write_bytes
from refiner.data.folders.contents import FolderContents, is_document, without_suffix
from refiner.data.folders.left_out import LeftOut, left_out
from refiner.data.labels.coordinates import Change
from refiner.data.labels.tables import INFO_FILE, LABELS_FILE
from refiner.data.output.folder import OutputFolder
from refiner.data.output.label_image_moves import move_label_image
from refiner.data.output.output_names import is_too_long, leads_out
from refiner.images.arrays import crop_centre
from refiner.images.io import read_image

Shape = tuple[int, int]
"""Height and width in pixels."""

_TEXTS = frozenset([".json", ".jsonl", ".xml", ".csv", ".tsv", ".txt", ".yaml", ".yml"])
"""Suffixes of files that may name images."""

_MAX_NAMES, _MAX_TEXT = 100, 2**26
"""Number of images whose former names are searched in a file about several images, and largest size of the file."""

_POSITIONS = "they may hold positions in pixels, and --crop or --size changes the images"


@dataclass
class Carried:
    """Files that went along with converted images, and those that did not.

    Attributes:
        names: files that were written.
        left: names of the files that were left out, by the reason.
        outdated: names of the files that were written, and name images by the names that these had before.
    """

    names: list[str] = field(default_factory=list)
    left: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    outdated: list[str] = field(default_factory=list)

    def reports(self) -> Iterator[LeftOut]:
        """Yield a report for each reason, and one for files with former names."""
        yield from left_out(
            "former names of images",
            self.outdated,
            "{count} copied file names its images as they were called before; correct the names in it",
            "{count} copied files name their images as they were called before; correct the names in them",
        )
        for reason, names in self.left.items():
            one, many = (
                f"{{count}} file is left out, as {_of_one(reason)}",
                f"{{count}} files are left out, as {reason}",
            )
            yield from left_out(f"files left out: {reason}", names, one, many, is_loss=True)


def _of_one(reason: str) -> str:
    """Return the reason for a single file."""
    return reason.replace("they may", "it may").replace(" their ", " its ")


class Companions:
    """The files beside the images of a folder, as a conversion carries them along.

    Args:
        source: the folder that is converted.
        contents: its files.
        crop: (height, width) of the centre that is cut out of each image; None for none.
        size: (height, width) that images are resized to; None for none.
        is_part: True if only some of the images are converted; files of the others are not missed.
        read: files that are read for labels; they are written anew.
    """

    def __init__(
        self,
        source: Path,
        contents: FolderContents,
        *,
        crop: Shape | None,
        size: Shape | None,
        is_part: bool,
        read: Collection[str] = (),
    ) -> None:
        self.source, self.contents, self.read = source, contents, read
        self.crop, self.size, self.is_part = crop, size, is_part
        self._moved_any: bool | None = None
        self._last: tuple[str, Shape] | None = None
        self._constant = {name for each in contents.sources for name in getattr(each, "constant_files", ())}

    def carry(self, output: OutputFolder | None, written: Mapping[str, str], label_files: Iterable[str]) -> Carried:
        """Copy the files of the images that were converted.

        A file keeps its bytes if its image keeps its size. Otherwise, a label image is cropped and resized without new
        values, and every other file is left out, as its positions would no longer fit.

        Args:
            output: the folder that is written; None if it is a store, which holds no other files.
            written: name of the output of each converted image.
            label_files: names of the label files in the output.
        """
        carried, taken = Carried(), {LABELS_FILE, INFO_FILE, *label_files, *written.values()}
        namesakes = {without_suffix(image): image for image in written}
        for name, image in (*self.contents.label_images.items(), *self.contents.companions.items()):
            is_label_image = name in self.contents.label_images
            if image is not None and image not in written:
                image = namesakes.get(without_suffix(image), image)
            if name in self.read or (image is not None and image not in written):
                continue  # read with the images; or its image was rejected or is in another part
            if name in self._constant and output is None:
                continue  # it holds no labels
            if image is None and is_label_image and self.is_part and name not in self._constant:
                reason = "their images are not known, and only some images are converted"
            elif output is None:
                reason = "a store holds only images and labels"
            elif name in taken or leads_out(name) or is_too_long(name):
                reason = "another file takes their name, or the name cannot be used"
            elif name in self._constant or (is_document(name) and not is_label_image):
                reason = self._write(name, None, output, is_label_image=False)
            elif image is None and not is_label_image and self._any_moves(written):
                reason = _POSITIONS
            else:
                reason = self._write(name, image, output, is_label_image=is_label_image)
            if not reason:
                carried.names.append(name)
                if not is_label_image and self._names_former(name, image, written):
                    carried.outdated.append(name)
            elif is_label_image or not is_document(name):
                carried.left[reason].append(name)
        return carried

    @property
    def _changes(self) -> bool:
        return self.crop is not None or self.size is not None

    def _any_moves(self, images: Iterable[str]) -> bool:
        """Return whether any image changes its size, so that a file about several images would no longer fit."""
        if self._moved_any is None:
            self._moved_any = any(self._moves(self._shape(image)) for image in images)
        return self._moved_any

    def _write(self, name: str, image: str | None, output: OutputFolder, *, is_label_image: bool) -> str:
        """Write one file; return the reason if it is left out, else an empty text."""
        path = self.source / name
        try:
            known = image or (name if is_label_image else None)
            before = self._shape(known)
            check_regular(path)  # a link to a device would never end
            if known is None or not self._moves(before):
                output.claim(name)
                with atomic_path(output.root / name) as temporary:
                    shutil.copyfile(path, temporary)
            elif is_label_image:
                assert before is not None  # it moves
                moved = move_label_image(self.source, name, self._change(before, name))
                output.claim(name)
                write_bytes(output.root / name, moved)
            else:
                return _POSITIONS
        except (ImageError, OSError) as error:
            reason = error.reason if isinstance(error, ImageError) else f"cannot be read ({error.strerror})"
            return f"such a file {reason}"
        return ""

    def _names_former(self, name: str, image: str | None, written: Mapping[str, str]) -> bool:
        """Return whether a file holds the name of an image that is called otherwise in the output."""
        if PurePosixPath(name).suffix.lower() not in _TEXTS:
            return False
        some = [image] if image is not None else list(islice(written, _MAX_NAMES))
        former = [PurePosixPath(each).name for each in some if PurePosixPath(each).name not in written[each]]
        try:
            content = read_regular(self.source / name, limit=_MAX_TEXT) if former else b""
        except OSError:
            return False
        return any(each.encode(errors="surrogateescape") in content for each in former)

    def _shape(self, image: str | None) -> Shape | None:
        """Return the size of an image before the conversion; None if it is not needed or there is no image."""
        if image is None or not self._changes:
            return None
        # Label images of one image follow each other.
        if self._last is None or self._last[0] != image:
            height, width = read_image(self.source / image).shape[:2]
            self._last = image, (height, width)
        return self._last[1]

    def _moves(self, before: Shape | None) -> bool:
        """Return whether the conversion changes the size of an image."""
        cropped = before if self.crop is None else self.crop
        return cropped != before or (self.size is not None and self.size != cropped)

    def _change(self, before: Shape, name: str) -> Change:
        """Return the change of an image of a size."""
        crop, corner = self.crop or before, (0, 0)
        if self.crop is not None:
            _, corner = crop_centre(np.broadcast_to(np.uint8(0), before), self.crop, name)
        return Change(before, corner, crop, self.size or crop)
