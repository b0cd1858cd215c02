"""Search for the images that an annotation file names, wherever they lie in the folder.

Annotation files name images by their path from the file, from the top folder or from a folder of images, by their
name alone, or by their path on another machine. A wrong image would get wrong labels, so that a name is only matched
if there is one image that it can mean.
"""

import functools
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "minival": "val"}
_SPLITS |= {"dev": "val", "test": "test", "testing": "test"}

_PLAIN = """
    images image imgs img data dataset rgb color colour colors frames jpegimages upload media files renders default raw
"""

_PLAIN_FOLDERS = frozenset(_PLAIN.split())
"""Names of folders that say nothing about their images, so that images may move out of them or into them."""

_LABELS = """
    mask masks seg segs segmentation segmentations label labels gt groundtruth semantic instance instances depth normal
    normals flow annotations panoptic
"""

_LABEL_FOLDERS = frozenset(_LABELS.split())
"""Words in the names of folders whose pictures are labels, and have the names of the images."""

_WORDS = re.compile(r"[a-z]+")


class Matches(NamedTuple):
    """The images that an annotation file names.

    Attributes:
        found: the image of each name.
        missing: a path for each name without image, relative to the folder; no image has it.
        ambiguous: the images that a name can mean, by the name.
    """

    found: dict[str, str]
    missing: dict[str, str]
    ambiguous: dict[str, list[str]]


class ImageNames:
    """The images of a folder, to be found by the names that annotation files give them.

    Args:
        root: the folder.
        images: relative paths with forward slashes.
    """

    def __init__(self, root: Path, images: Sequence[str]) -> None:
        self._images = frozenset(images)
        self._above = root.resolve().as_posix().rstrip("/") + "/"

    @cached_property
    def _by_base(self) -> Mapping[str, list[str]]:
        """The images by the last part of their path, whatever its case."""
        found: dict[str, list[str]] = defaultdict(list)
        for image in self._images:
            found[_fold(posixpath.basename(image))].append(image)
        return found

    @cached_property
    def _labels_only(self) -> bool:
        """True if all images are in folders whose names say that their pictures are labels."""
        return all(_words(_folder(image)) & _LABEL_FOLDERS for image in self._images)

    def match(self, file: str, names: Sequence[str]) -> Matches:
        """Find the images that one annotation file names.

        Args:
            file: path of the annotation file, relative to the folder.
            names: the names of images in it.
        """
        matches = Matches({}, {}, {})
        folder = posixpath.dirname(file)
        # The path from the annotation file is what a name means, if there is such an image.
        several: dict[str, list[str]] = {}
        lost: list[str] = []
        cleaned = {name: clean_name(name) for name in dict.fromkeys(names)}
        bases = Counter(_fold(posixpath.basename(name)) for name in cleaned.values())
        for name, clean in cleaned.items():
            beside = posixpath.normpath(posixpath.join(folder, clean))
            if beside in self._images:
                matches.found[name] = beside
            elif candidates := self._candidates(file, clean, is_only=bases[_fold(posixpath.basename(clean))] == 1):
                several[name] = candidates
            else:
                lost.append(name)
        # Of several images, take the one in the folder that has all of the file's images.
        prefixes = Counter(
            image.removesuffix(cleaned[name]) for name, images in several.items() for image in set(images)
        )
        full = {prefix for prefix, count in prefixes.items() if count == len(several)}
        for name, images in several.items():
            inside = [image for image in images if image.removesuffix(cleaned[name]) in full]
            best = images if len(images) == 1 else inside
            if len(best) == 1:
                matches.found[name] = best[0]
            else:
                matches.ambiguous[name] = sorted(images)
        # Images that are missing are expected where most of the others are.
        where = Counter(image.removesuffix(cleaned[name]) for name, image in matches.found.items())
        usual = where.most_common(1)[0][0] if where else folder + "/"
        for name in lost:
            path = posixpath.normpath((usual + cleaned[name]).lstrip("/"))
            matches.missing[name] = f"{file}/{path}" if path in self._images or path.startswith("..") else path
        return matches

    def _candidates(self, file: str, name: str, *, is_only: bool) -> list[str]:
        """Return the images that a name can mean; see :class:`ImageNames`.

        Args:
            file: the annotation file.
            name: a name in it, cleaned.
            is_only: no other name in the file ends in the same way, so that folders that it names may have changed.
        """
        same_base = self._by_base.get(_fold(posixpath.basename(name)), [])
        # A file of one split does not name images of another, but for those whose folder it names.
        mine = splits_of(file)
        possible = [image for image in same_base if not _contradict(mine, splits_of(_unnamed_folder(image, name)))]
        # Masks have the names of their images.
        if not self._labels_only:
            named = _words(_folder(name))
            possible = [image for image in possible if not (_words(_folder(image)) - named) & _LABEL_FOLDERS]
        end = "/" + name.lstrip("/")
        found = [image for image in possible if (self._above + image).endswith(end)]
        found = found or [image for image in possible if _fold(self._above + image).endswith(_fold(end))]
        found = found or (_with_changed_folders(name, possible) if is_only else [])
        return _best(
            found,
            lambda image: bool(splits_of(_folder(image)) & splits_of(file)),
            lambda image: _shared_depth(_folder(image), _folder(file)),
        )


def _unnamed_folder(image: str, name: str) -> str:
    """Return the folder of an image without the part that a name in an annotation file gives."""
    end = name.lstrip("/")
    return image.removesuffix(end) if f"/{image}".endswith(f"/{end}") else _folder(image)


def clean_name(name: str) -> str:
    """Return the name of an image with forward slashes, without the start of an address and needless parts."""
    clean = name.replace("\\", "/")
    clean = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]+://[^/]*/?", "/", clean)
    clean = re.sub(r"^[a-zA-Z]:/", "/", clean)
    return posixpath.normpath(clean)


@functools.lru_cache(maxsize=4096)
def splits_of(path: str) -> frozenset[str]:
    """Return the parts of a data set that words in a path name: train, val, test."""
    words = _words(path)
    both = ("train", "val") if "trainval" in words else ()
    return frozenset([*(_SPLITS[word] for word in words if word in _SPLITS), *both])


def _with_changed_folders(name: str, images: Sequence[str]) -> list[str]:
    """Return the images whose path ends as a name does, although the folders above differ.

    The first folder that differs must not say that the image is another one, as ``left`` and ``right`` do.
    """
    parts = _fold(name.strip("/")).split("/")
    for length in range(len(parts) - 1, 0, -1):
        end = parts[-length:]
        found = [image for image in images if _fold(image).split("/")[-length:] == end]
        if found:
            return [image for image in found if _may_differ(parts[-length - 1], _fold(image).split("/"), length)]
    return []


def _may_differ(folder: str, image: Sequence[str], length: int) -> bool:
    """Return whether a folder above the last parts of an image's path may have another name than in the file."""
    return len(image) <= length or bool({folder, image[-length - 1]} & _PLAIN_FOLDERS) or folder in ("..", "")


def _best(images: list[str], *ranks: Callable[[str], int]) -> list[str]:
    """Return the images that are best by the first rank, then by the next ones."""
    for rank in ranks:
        if len(images) > 1:
            top = max(rank(image) for image in images)
            images = [image for image in images if rank(image) == top]
    return images


def _shared_depth(first: str, second: str) -> int:
    """Return the number of folders that two paths share from the top."""
    depth = 0
    for a, b in zip(first.split("/"), second.split("/"), strict=False):
        if a != b:
            break
        depth += 1
    return depth


def _contradict(first: frozenset[str], second: frozenset[str]) -> bool:
    return bool(first and second and not first & second)


def _folder(path: str) -> str:
    return posixpath.dirname(path)


@functools.lru_cache(maxsize=4096)
def _words(path: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(path.lower()))


def _fold(text: str) -> str:
    """Return a name as file systems compare it that ignore case and the composition of letters."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()
