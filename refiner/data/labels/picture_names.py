"""Names of pictures as renderers write them: words for labels, maps and colours, and the number of the frame."""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable

_LABEL_WORDS = """
    mask masks bitmask bitmasks seg segs segm segmap segmaps segmentation segmentations semseg insseg instseg
    panseg iseg cseg label labels labelmap labelmaps lbl annotation annotations annot trainannot valannot
    testannot gt groundtruth semantic semantics instance instances inst panoptic stuffthingmaps parsing matte
    mattes trimap trimaps classes classmap cls superpixels entity
"""

LABEL_WORDS = frozenset(_LABEL_WORDS.split())
"""Words in the names of files and folders of label images, in lower case."""

_MAP_WORDS = """
    depth depthmap disparity disp normal normals flow coordinates coords coord nocs uv uvs xyz distance pointcloud
    albedo reflectance roughness metallic metalness residual
"""

MAP_WORDS = frozenset(_MAP_WORDS.split())
"""Words in the names of files and folders of maps, in lower case: each pixel holds a measure, not a class."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNITY = "rgb(?=[0-9a-f]{8})"  # older folders of Unity Perception: RGB and a number of 32 hexadecimal digits
_COLOURS = re.compile(rf"(?i)(?<![a-z])(?:(?:rgba?|colou?rs?|photo|tonemap)(?![a-z])|{_UNITY})")
_SURE_COLOURS = re.compile(rf"(?i)(?<![a-z])(?:(?:rgba?|photo|tonemap)(?![a-z])|{_UNITY})")
_IMAGES = re.compile(r"(?i)(?<![a-z])(?:image|img|beauty|combined|composite|render)(?![a-z])")
_MAX_FOLDERS = 16  # folders in which the render of a file is searched
_DIGITS = re.compile(r"\d+")
_CUT = re.compile(r"[_\-. ]|(?<=[A-Za-z]{2})(?=\d+$)")  # also before the number of Depth0001


def has_label_word(text: str) -> bool:
    """Return whether a name of a file or folder, without suffix, holds one of :data:`LABEL_WORDS`."""
    return _has_label_word(without_digits(text))


@functools.lru_cache(maxsize=4096)
def _has_label_word(text: str) -> bool:
    return any(word.lower() in LABEL_WORDS for word in _WORDS.findall(text))


def without_digits(text: str) -> str:
    """Return a name with each number as 0: the files of a folder differ in their numbers, and have few such names."""
    return _DIGITS.sub("0", text)


def label_words(text: str) -> str:
    """Return the words for labels in a name, joined."""
    return "".join(word.lower() for word in _WORDS.findall(text) if word.lower() in LABEL_WORDS)


def has_map_word(text: str) -> bool:
    """Return whether a name holds one of :data:`MAP_WORDS`."""
    return _has_map_word(without_digits(text))


@functools.lru_cache(maxsize=4096)
def _has_map_word(text: str) -> bool:
    return any(word.lower() in MAP_WORDS for word in _WORDS.findall(text))


def holds_distances_in_pixels(text: str) -> bool:
    """Return whether a path says that the pixels hold distances in pixels, such as an optical flow or a disparity."""
    return any(word.lower() in ("flow", "disparity", "disp") for word in _WORDS.findall(text))


def has_colour_word(text: str) -> bool:
    """Return whether a name says that a picture is a render in colour: rgb, rgba, color, photo or tonemap."""
    return _COLOURS.search(text) is not None


def is_label_alone(stem: str) -> bool:
    """Return whether a name holds nothing but words for labels or maps, such as "semantic" or "depth"."""
    words = _WORDS.findall(stem)
    return bool(words) and all(word.lower() in LABEL_WORDS | MAP_WORDS for word in words)


def has_image_word(text: str) -> bool:
    """Return whether a name says that a picture is the image itself, by a word for colours or one such as img."""
    return has_colour_word(text) or _IMAGES.search(text) is not None


def is_colour_render(name: str) -> bool:
    """Return whether the path of a picture says that it is a render in colour, and no label in colours."""
    folder, _, file = name.rpartition("/")
    stem = file.rpartition(".")[0]
    return _is_colour_render(folder, without_digits(stem))


@functools.lru_cache(maxsize=4096)
def _is_colour_render(folder: str, stem: str) -> bool:
    if has_label_word(stem) or has_map_word(stem):
        return False
    name = f"{folder}/{stem}"
    if _SURE_COLOURS.search(name):
        return not has_label_word(folder.rpartition("/")[2])
    return has_colour_word(name) and not (has_label_word(folder) or has_map_word(folder))


def parts_of(stem: str) -> list[tuple[str, str]]:
    """Return the parts before and after each separator of a stem, the longest first, each with the rest."""
    cuts = [match.span() for match in _CUT.finditer(stem)]
    parts = [(stem[:start], stem[start:] + "|") for start, _ in cuts] + [
        (stem[end:], "|" + stem[:end]) for _, end in cuts
    ]
    return sorted(parts, key=lambda pair: len(pair[0]), reverse=True)


def without_one(folder: str) -> list[str]:
    """Return a path without each of its folders in turn."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:number] + parts[number + 1 :]) for number in range(len(parts))]


@functools.lru_cache(maxsize=4096)
def _with_one_less(folder: str) -> tuple[str, ...]:
    """Return a path, and the path without each of its folders."""
    return tuple(dict.fromkeys([folder, *without_one(folder)]))


@functools.lru_cache(maxsize=4096)
def _with_two_less(folder: str) -> tuple[str, ...]:
    """Return a path, and the path without one or two of its folders."""
    shorter = _with_one_less(folder)
    return tuple(dict.fromkeys([*shorter, *(shortest for short in shorter for shortest in without_one(short))]))


class Frames:
    """Renders in colour by the numbers in their names, to find the render of another output of the same frame.

    ``rgb/rgb_0001.png`` is the render of ``normals/normals_0001.png`` and of ``boxes_0001.npy``: both names have the
    part 0001, and one or two folders differ. Renders without a word for colours are not among them.

    Args:
        images: paths of pictures.
    """

    def __init__(self, images: Iterable[str]) -> None:
        self._by_folder: dict[str, dict[str, str]] = {}
        self._near: dict[str, tuple[str, ...]] = {}
        for image in filter(is_colour_render, images):
            folder, _, file = image.rpartition("/")
            stem = file.rpartition(".")[0]
            renders = self._by_folder.setdefault(folder, {})
            for part, rest in parts_of(stem):
                if _has_digit(part) and has_colour_word(without_digits(rest)):
                    renders.setdefault(part, image)
            if _has_digit(stem) and has_colour_word(folder):
                renders.setdefault(stem, image)
        # Folders of renders by what is left of their paths without one name.
        self._shorter: dict[str, list[str]] = defaultdict(list)
        for folder in self._by_folder:
            for short in _with_one_less(folder):
                self._shorter[short].append(folder)

    def find(self, name: str) -> str | None:
        """Return the render of the frame that a file belongs to; None if there is none.

        Among several ones, it is the one in the folder whose path differs least and agrees longest.
        """
        if not self._by_folder:
            return None
        folder, _, file = name.rpartition("/")
        if (near := self._near.get(folder)) is None:
            near = self._near[folder] = self._folders_near(folder)
        if not near:
            return None
        stem = file.rpartition(".")[0]
        parts = [part for part in (stem, *(part for part, _ in parts_of(stem))) if _has_digit(part)]
        for other in near:
            renders = self._by_folder[other]
            for part in parts:
                if part in renders:
                    return renders[part]
        return None

    def _folders_near(self, folder: str) -> tuple[str, ...]:
        """Return the folders of renders that may belong to a folder, the nearest ones first."""
        found: dict[str, None] = {}
        for short in _with_two_less(folder):
            some = self._shorter.get(short, ())
            found |= dict.fromkeys(sorted(some, key=lambda other: -_common_start(other, folder)))
        return tuple(found)[:_MAX_FOLDERS]


def _common_start(first: str, second: str) -> int:
    """Return the number of characters with which both texts begin."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((number for number, (one, other) in pairs if one != other), min(len(first), len(second)))


def _has_digit(text: str) -> bool:
    return _DIGITS.search(text) is not None
