"""Pairs of images and label images by their paths, and folders that hold maps by their names."""

from collections.abc import Iterable, Sequence

from refiner.data.labels.picture_names import (
    has_colour_word,
    has_label_word,
    has_map_word,
    parts_of,
    without_one,
)

Folders = dict[str, dict[str, list[str]]]
"""Files of each folder by their stems."""


def find_pairs(images: Folders, labels: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the images of labels in other folders.

    Args:
        images: the folders of images.
        labels: folder and stem of each label image.

    Returns:
        The file of the image, by folder and stem of its label. Labels without image are left out.
    """
    pairs = _by_stem(images, labels)
    return pairs | _by_part(images, [label for label in labels if label not in pairs])


def _by_stem(images: Folders, labels: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the images of labels that have the same path but for one folder, and for a word for labels in the name.

    ``masks/p00/1_mask.png`` belongs to ``images/p00/1.png`` or ``p00/1.png``.
    """
    index: dict[str, str] = {}
    for folder, stems in images.items():
        for short in (folder, *without_one(folder)):
            for stem, files in stems.items():
                index.setdefault(f"{short}/{stem}", files[0])
    found = {}
    for folder, stem in labels:
        keys = [f"{short}/{end}" for end in (stem, *_bases(stem)) for short in without_one(folder)]
        if (image := next((index[key] for key in keys if key in index), None)) is not None:
            found[folder, stem] = image
    return found


def _by_part(images: Folders, labels: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the images of labels whose names hold another word instead of that for labels.

    ``seg/1_seg.png`` belongs to ``img/1_img.png``, unless there is also ``img/1_left.png``.
    """
    wanted = {
        (folder, stem): [f"{short}/{base}" for base in _bases(stem) for short in without_one(folder)]
        for folder, stem in labels
    }
    index: dict[str, str | None] = dict.fromkeys(key for keys in wanted.values() for key in keys)
    seen: set[str] = set()
    for folder, stems in images.items() if index else ():
        for short in (folder, *without_one(folder)):
            for stem, files in stems.items():
                for key in {f"{short}/{part}" for part, _ in parts_of(stem)} & index.keys():
                    index[key] = None if key in seen else files[0]
                    seen.add(key)
    found = {label: next((image for key in keys if (image := index[key])), None) for label, keys in wanted.items()}
    return {label: image for label, image in found.items() if image is not None}


def find_map_folders(folders: Iterable[str]) -> set[str]:
    """Return the folders that hold maps by their names.

    "normal" may be the name of a class. Such a folder holds maps only if there is another folder of maps in its place.
    """
    found, unsure = set(), []
    for folder in folders:
        parts = folder.split("/")
        if has_colour_word(folder) or not any(map(has_map_word, parts)):
            continue
        if any(has_map_word(part) for part in parts if part.lower() != "normal"):
            found.add(folder)
        else:
            unsure.append(folder)
    places = {place for folder in found for place in without_one(folder)}
    return found.union(folder for folder in unsure if not places.isdisjoint(without_one(folder)))


def _bases(stem: str) -> list[str]:
    """Return the parts of a stem that are left without a word for labels or maps: 0001 of 0001_mask."""
    return [part for part, rest in parts_of(stem) if has_label_word(rest) or has_map_word(rest)]
