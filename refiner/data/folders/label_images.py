"""Recognition of label images beside the images of a folder: masks, segmentations, class maps and depth maps.

A label image holds a label in each pixel. It must be copied, never refined, and never used for training. It is
recognised by its name and its content, so that a mere folder ``mask`` of photographs stays a folder of photographs:

- The name says so (``0001_seg.png``, ``mask/0001.png``), or it is that of an image plus a word (``0001_iris.png``), or
  the file has the name of an image in another folder.
- The content is that of a label: few values in large areas. If the name says so, large areas are enough, since there
  may be many instances. If there is also an image of that name, the areas may be less even, as a JPEG file blurs them.
- Maps of depth, normals or motion have any content. Their names suffice, if the image without that word is there.
- Renderers write the outputs of a frame under its number: ``rgb_0001.png`` is the image of ``segmentation_0001.png``,
  also if each output has a folder of its own.

Files of one kind of name in one folder are judged together, by a few of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from refiner.core.errors import ImageError
from refiner.data.folders.label_paths import Folders, find_map_folders, find_pairs
from refiner.data.labels.picture_names import (
    Frames,
    has_colour_word,
    has_image_word,
    has_label_word,
    has_map_word,
    is_colour_render,
    is_label_alone,
    label_words,
    parts_of,
    without_digits,
)
from refiner.images.io import Image, read_image

MAX_VALUES = 32
"""Largest number of different values, or colours, of a label image whose name alone does not prove it."""

FLAT_SHARE = 0.6
"""Least share of neighbouring pixels with equal values in such an image. Photographs have 0.4 at most."""

BLURRED_SHARE = 0.45
"""The same for an image whose name proves it and that may have been stored as JPEG."""

_COUNTED_SIDE = 1024  # largest number of rows and columns whose values are counted

_SAMPLE = 5  # files that are read of each kind of name


class Content(NamedTuple):
    """Content of an image: number of different values or colours, and share of equal neighbours."""

    values: int
    flat: float


@dataclass
class _Group:
    """Files of one kind of name in one folder.

    Attributes:
        is_named: the names say that they are labels.
        is_map: the names say that they are maps of depth, normals or motion, and each has an image.
        images: the image that each file belongs to; None if there is none of that name.
    """

    is_named: bool
    images: dict[str, str | None] = field(default_factory=dict)
    is_map: bool = False


def find_label_images(root: Path, names: Sequence[str]) -> dict[str, str | None]:
    """Find the label images among the image files of a folder.

    Args:
        root: the folder.
        names: relative paths of its image files.

    Returns:
        The image that each label image belongs to, by the name of the label image; None if it is not known.
    """
    found: dict[str, str | None] = {}
    for candidates in (_by_frame, _by_name, partial(_by_folder, root)):
        rest = [name for name in names if found.get(name) is None]  # a label without image may have one elsewhere
        groups = [group for group in candidates(rest) if group.images]
        # Labels belong to images: if all files have such names, they are the images.
        if sum(len(group.images) for group in groups) < len(rest):
            for group in groups:
                found |= _labels_of(root, group)
    # A label image may have been taken for the image of another one.
    return {name: None if image in found else image for name, image in found.items()}


def content_of(image: Image) -> Content:
    """Count the values of an image and its equal neighbours."""
    pixels = image.reshape(image.shape[0], image.shape[1], -1)
    across, down = ((pixels[:, 1:] == pixels[:, :-1]).all(axis=2), (pixels[1:] == pixels[:-1]).all(axis=2))
    pairs = across.size + down.size
    flat = float(across.sum() + down.sum()) / pairs if pairs else 0.0
    # Sorting all pixels of a huge image would take seconds.
    down_step, across_step = (-(-side // _COUNTED_SIDE) for side in image.shape[:2])
    counted = pixels[::down_step, ::across_step]
    return Content(len(np.unique(counted.reshape(-1, pixels.shape[2]), axis=0)), flat)


# --- candidates by the frames of a renderer -------------------------------------------------------------------------


def _by_frame(names: Sequence[str]) -> list[_Group]:
    """Group files with a word for labels or maps, in their names or folders, whose frame has a render in colour."""
    frames = Frames(names)
    groups: dict[tuple[str, str], _Group] = {}
    for folder, stems in _by_parent(names).items():
        in_labels, in_maps = has_label_word(folder), has_map_word(folder)
        for stem, files in stems.items():
            is_named = in_labels or has_label_word(stem)
            if not (is_named or in_maps or has_map_word(stem)) or is_colour_render(files[0]):
                continue
            if (image := frames.find(files[0])) is not None:
                group = groups.setdefault((folder, without_digits(stem)), _Group(is_named, is_map=not is_named))
                group.images |= dict.fromkeys(files, image)
    return list(groups.values())


# --- candidates by their names ---------------------------------------------------------------------------------


def _by_name(names: Sequence[str]) -> list[_Group]:
    """Group files whose names are that of an image and a further word, or hold a word for labels."""
    groups: dict[tuple[str, str], _Group] = {}
    for folder, stems in _by_parent(names).items():
        named = {stem for stem in stems if has_label_word(stem)}
        plain = {stem: files[0] for stem, files in stems.items() if stem not in named}
        others = {stem: name for stem, name in plain.items() if not has_map_word(stem)}
        parts_of_plain: dict[str, str] | None = None
        for stem in sorted(stems):
            parts = [part for part in parts_of(stem) if part[0] in plain]
            image, kind = _split(parts, others)
            if image is None and len(others) < len(plain):
                image, kind = _split(parts, plain)
            is_map = stem not in named and has_map_word(stem)
            if image is None and (stem in named or is_map):
                # 0001_rgb.png is the image of 0001_mask.png: both have the part 0001.
                if parts_of_plain is None:
                    parts_of_plain = _images_by_part(plain)
                image, kind = _split(parts_of(stem), parts_of_plain)
                if is_map and image is not None and not has_image_word(image):  # synthetic beside real depth
                    image = None
                if image is None and is_label_alone(stem):  # depth.png beside rgb.png
                    image, kind = next((plain[other] for other in sorted(plain) if has_colour_word(other)), None), stem
            if stem in named or image is not None:
                kind = kind or label_words(stem)
                is_map = is_map and has_map_word(kind)
                group = groups.setdefault((folder, kind), _Group(stem in named, is_map=is_map))
                group.images |= dict.fromkeys(stems[stem], image)
    return list(groups.values())


def _images_by_part(plain: dict[str, str]) -> dict[str, str]:
    """Return the images by each part of their stems; colour images come before others, and maps last."""
    ordered = sorted(
        plain, key=lambda stem: (has_colour_word(stem), has_image_word(stem), not has_map_word(stem), stem)
    )
    return {part: plain[stem] for stem in ordered for part, _ in parts_of(stem)}


def _split(parts: Iterable[tuple[str, str]], images: dict[str, str]) -> tuple[str | None, str]:
    """Return the image of the first part of a stem that has one, and the rest, which must hold a letter."""
    for part, rest in parts:
        if part in images and any(character.isalpha() for character in rest):
            return images[part], rest
    return None, ""


def _by_parent(names: Sequence[str]) -> Folders:
    """Return the files of each folder by their stems."""
    folders: Folders = defaultdict(dict)
    for name in names:
        folder, _, file = name.rpartition("/")
        folders[folder].setdefault(file.rpartition(".")[0], []).append(name)
    return folders


# --- candidates by their folders -------------------------------------------------------------------------------


def _by_folder(root: Path, names: Sequence[str]) -> list[_Group]:
    """Group files by folders that are named as labels, or whose files are named as images of other folders."""
    folders = _by_parent(names)
    if len(folders) < 2:
        return []
    named = {folder for folder in folders if any(has_label_word(part) for part in folder.split("/"))}
    maps = find_map_folders(folders.keys() - named)
    others = folders.keys() - named - maps
    chosen = named | maps | {folder for folder in others if _looks_like_labels(root, folders[folder])}
    if not chosen:
        return []
    images = {folder: folders[folder] for folder in sorted(folders.keys() - chosen)}
    labels = [(folder, stem) for folder in sorted(chosen) for stem in folders[folder]]
    pairs = find_pairs(images, labels)
    groups = {folder: _Group(folder in named, is_map=folder in maps) for folder in sorted(chosen)}
    for folder, stem in labels:
        if (image := pairs.get((folder, stem))) is not None or folder in named:
            groups[folder].images |= dict.fromkeys(folders[folder][stem], image)
    return list(groups.values())


def _looks_like_labels(root: Path, stems: dict[str, list[str]]) -> bool:
    """Return whether the first files of a folder that can be read have the content of labels."""
    first = next((name for files in stems.values() for name in files), "")
    content = _read(root, first)
    return content is not None and is_label(content)


# --- judgement by their content --------------------------------------------------------------------------------


def _labels_of(root: Path, group: _Group) -> dict[str, str | None]:
    """Return the label images of a group, with the image of each."""
    names = sorted(group.images)
    if group.is_map:
        return dict(group.images)
    if len(names) == 1 and not group.is_named:  # a single name may be a coincidence
        return {}
    sample = [names[number * len(names) // _SAMPLE] for number in range(_SAMPLE)] if len(names) > _SAMPLE else names
    judge: Callable[[str], bool | None] = partial(_judge, root, group)
    outcomes = {name: outcome for name in sample if (outcome := judge(name)) is not None}
    # If the sample is of one mind, the others follow it. Else each file is judged by itself.
    if len(set(outcomes.values())) < 2:
        return dict(group.images) if any(outcomes.values()) else {}
    return {name: image for name, image in group.images.items() if judge(name)}


def _judge(root: Path, group: _Group, name: str) -> bool | None:
    """Return whether a file is a label image; None if it cannot be read or has one value only, which proves nothing."""
    content = _read(root, name)
    if content is None:
        return None
    if content.values == 1:
        return True if group.is_named else None
    if is_label(content):
        return True
    # Instances have any number of values.
    return group.is_named and content.flat >= (FLAT_SHARE if group.images[name] is None else BLURRED_SHARE)


def is_label(content: Content) -> bool:
    """Return whether a content is that of a label: few values in large areas."""
    return content.values <= MAX_VALUES and content.flat >= FLAT_SHARE


def _read(root: Path, name: str) -> Content | None:
    try:
        return content_of(read_image(root / PurePosixPath(name)))
    except ImageError:
        return None
