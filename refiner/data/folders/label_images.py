"""Recognition of label images beside the images of a folder: masks, segmentations, class maps and depth maps.

A label image holds a label in each pixel. It must be copied, never refined, and never used for training. It is
recognised by its name and its content, so that a mere folder ``mask`` of photographs stays a folder of photographs:

- The name says so (``0001_seg.png``, ``mask/0001.png``), or it is that of an image plus a word (``0001_iris.png``), or
  the file has the name of an image in another folder.
- The content is that of a label: few values in large areas. If the name says so and there is an image of that name,
  large areas are enough, since a JPEG file blurs the values.
- Maps of depth, normals or motion have any content. Their names suffice, if the image without that word is there.

Files of one kind of name in one folder are judged together, by a few of them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from refiner.core.errors import ImageError
from refiner.images.io import Image, read_image

_LABEL_WORDS = """
    mask masks seg segs segm segmentation segmentations label labels labelmap labelmaps lbl annotation annotations annot
    gt groundtruth semantic semantics instance instances parsing matte mattes classes classmap
"""

LABEL_WORDS = frozenset(_LABEL_WORDS.split())
"""Words in the names of files and folders of label images, in lower case."""

MAP_WORDS = frozenset(["depth", "depthmap", "disparity", "disp", "normal", "normals", "flow"])
"""Words in the names of files and folders of maps, in lower case: each pixel holds a measure, not a class."""

MAX_VALUES = 32
"""Largest number of different values, or colours, of a label image whose name alone does not prove it."""

FLAT_SHARE = 0.6
"""Least share of neighbouring pixels with equal values in such an image. Photographs have 0.4 at most."""

BLURRED_SHARE = 0.45
"""The same for an image whose name proves it and that may have been stored as JPEG."""

_COUNTED_SIDE = 1024  # largest number of rows and columns whose values are counted

_SAMPLE = 5  # files that are read of each kind of name

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_COLOURS = re.compile(r"(?i)(?<![a-z])(rgb|colou?r)(?![a-z])")
_CUT = re.compile(r"[_\-. ]")


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
    for candidates in (_by_name, partial(_by_folder, root)):
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


def is_named_as_label(text: str) -> bool:
    """Return whether a name of a file or folder, without suffix, holds one of :data:`LABEL_WORDS`."""
    return any(word.lower() in LABEL_WORDS for word in _WORDS.findall(text))


def _is_named_as_map(text: str) -> bool:
    return any(word.lower() in MAP_WORDS for word in _WORDS.findall(text))


# --- candidates by their names ---------------------------------------------------------------------------------


def _by_name(names: Sequence[str]) -> list[_Group]:
    """Group files whose names are that of an image and a further word, or hold a word for labels."""
    groups: dict[tuple[str, str], _Group] = {}
    for folder, stems in _by_parent(names).items():
        named = {stem for stem in stems if is_named_as_label(stem)}
        plain = {stem: files[0] for stem, files in stems.items() if stem not in named}
        parts_of_plain: dict[str, str] | None = None
        for stem in sorted(stems):
            image, kind = _split(stem, plain)
            is_map = stem not in named and _is_named_as_map(stem)
            if image is None and (stem in named or is_map):
                # 0001_rgb.png is the image of 0001_mask.png: both have the part 0001.
                if parts_of_plain is None:
                    parts_of_plain = _images_by_part(plain)
                image, kind = _split(stem, parts_of_plain)
                if is_map and image is not None and not _COLOURS.search(image):  # synthetic beside real depth
                    image = None
            if stem in named or image is not None:
                kind = kind or "".join(word.lower() for word in _WORDS.findall(stem) if word.lower() in LABEL_WORDS)
                is_map = is_map and _is_named_as_map(kind)
                group = groups.setdefault((folder, kind), _Group(stem in named, is_map=is_map))
                group.images |= dict.fromkeys(stems[stem], image)
    return list(groups.values())


def _images_by_part(plain: dict[str, str]) -> dict[str, str]:
    """Return the images by each part of their stems; colour images come before others."""
    ordered = sorted(plain, key=lambda stem: (bool(_COLOURS.search(stem)), stem))
    return {part: plain[stem] for stem in ordered for part, _ in _parts(stem)}


def _split(stem: str, images: dict[str, str]) -> tuple[str | None, str]:
    """Return the image of the longest part of a stem that has one, and the rest, which must hold a letter."""
    for part, rest in _parts(stem):
        if part in images and any(character.isalpha() for character in rest):
            return images[part], rest
    return None, ""


def _parts(stem: str) -> list[tuple[str, str]]:
    """Return the parts before and after each separator of a stem, the longest first, each with the rest."""
    cuts = [match.start() for match in _CUT.finditer(stem)]
    parts = [(stem[:cut], stem[cut:] + "|") for cut in cuts] + [
        (stem[cut + 1 :], "|" + stem[: cut + 1]) for cut in cuts
    ]
    return sorted(parts, key=lambda pair: len(pair[0]), reverse=True)


def _by_parent(names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return the files of each folder by their stems."""
    folders: dict[str, dict[str, list[str]]] = defaultdict(dict)
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
    named = {folder for folder in folders if any(is_named_as_label(part) for part in folder.split("/"))}
    maps = {folder for folder in folders.keys() - named if any(map(_is_named_as_map, folder.split("/")))}
    others = folders.keys() - named - maps
    chosen = named | maps | {folder for folder in others if _looks_like_labels(root, folders[folder])}
    if not chosen:
        return []
    # An image has the same path but for one folder, or lacks that folder: masks/p00/1.png belongs to p00/1.png.
    index: dict[str, str] = {}
    for folder in folders.keys() - chosen:
        for short in (folder, *_without_one(folder)):
            for stem, files in folders[folder].items():
                index.setdefault(f"{short}/{stem}", files[0])
    groups = []
    for folder in sorted(chosen):
        group = _Group(folder in named, is_map=folder in maps)
        for stem, files in folders[folder].items():
            keys = [f"{short}/{end}" for end in (stem, *_bases(stem)) for short in _without_one(folder)]
            image = next((index[key] for key in keys if key in index), None)
            if image is not None or group.is_named:
                group.images |= dict.fromkeys(files, image)
        groups.append(group)
    return groups


def _bases(stem: str) -> list[str]:
    """Return the parts of a stem that are left without a word for labels: 0001 of 0001_mask."""
    return [part for part, rest in _parts(stem) if is_named_as_label(rest)]


def _without_one(folder: str) -> list[str]:
    """Return a path without each of its folders in turn."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:number] + parts[number + 1 :]) for number in range(len(parts))]


def _looks_like_labels(root: Path, stems: dict[str, list[str]]) -> bool:
    """Return whether the first files of a folder that can be read have the content of labels."""
    first = next((name for files in stems.values() for name in files), "")
    content = _read(root, first)
    return content is not None and _is_label(content)


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
    if _is_label(content):
        return True
    return group.is_named and group.images[name] is not None and content.flat >= BLURRED_SHARE


def _is_label(content: Content) -> bool:
    return content.values <= MAX_VALUES and content.flat >= FLAT_SHARE


def _read(root: Path, name: str) -> Content | None:
    try:
        return content_of(read_image(root / PurePosixPath(name)))
    except ImageError:
        return None
