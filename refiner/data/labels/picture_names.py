"""Names of pictures as renderers write them: words for labels, maps and colours, and the number of the frame."""

import re
from collections import defaultdict
from collections.abc import Iterable

_LABEL_WORDS = """
    mask masks seg segs segm segmentation segmentations label labels labelmap labelmaps lbl annotation annotations annot
    gt groundtruth semantic semantics instance instances parsing matte mattes classes classmap
"""

LABEL_WORDS = frozenset(_LABEL_WORDS.split())
"""Words in the names of files and folders of label images, in lower case."""

_MAP_WORDS = """
    depth depthmap disparity disp normal normals flow coordinates coords nocs uv uvs xyz distance pointcloud
"""

MAP_WORDS = frozenset(_MAP_WORDS.split())
"""Words in the names of files and folders of maps, in lower case: each pixel holds a measure, not a class."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNITY = "rgb(?=[0-9a-f]{8})"  # older folders of Unity Perception: RGB and a number of 32 hexadecimal digits
_COLOURS = re.compile(rf"(?i)(?<![a-z])(?:(?:rgba?|colou?r|photo|tonemap)(?![a-z])|{_UNITY})")
_SURE_COLOURS = re.compile(rf"(?i)(?<![a-z])(?:(?:rgba?|photo|tonemap)(?![a-z])|{_UNITY})")
_CUT = re.compile(r"[_\-. ]")


def has_label_word(text: str) -> bool:
    """Return whether a name of a file or folder, without suffix, holds one of :data:`LABEL_WORDS`."""
    return any(word.lower() in LABEL_WORDS for word in _WORDS.findall(text))


def label_words(text: str) -> str:
    """Return the words for labels in a name, joined."""
    return "".join(word.lower() for word in _WORDS.findall(text) if word.lower() in LABEL_WORDS)


def has_map_word(text: str) -> bool:
    """Return whether a name holds one of :data:`MAP_WORDS`."""
    return any(word.lower() in MAP_WORDS for word in _WORDS.findall(text))


def holds_distances_in_pixels(text: str) -> bool:
    """Return whether a path says that the pixels hold distances in pixels, such as an optical flow or a disparity."""
    return any(word.lower() in ("flow", "disparity", "disp") for word in _WORDS.findall(text))


def has_colour_word(text: str) -> bool:
    """Return whether a name says that a picture is a render in colour: rgb, rgba, color, photo or tonemap."""
    return _COLOURS.search(text) is not None


def is_colour_render(name: str) -> bool:
    """Return whether the path of a picture says that it is a render in colour, and no label in colours."""
    folder, _, file = name.rpartition("/")
    stem = file.rpartition(".")[0]
    if has_label_word(stem) or has_map_word(stem):
        return False
    if _SURE_COLOURS.search(name):
        return not has_label_word(folder.rpartition("/")[2])
    return has_colour_word(name) and not (has_label_word(folder) or has_map_word(folder))


def parts_of(stem: str) -> list[tuple[str, str]]:
    """Return the parts before and after each separator of a stem, the longest first, each with the rest."""
    cuts = [match.start() for match in _CUT.finditer(stem)]
    parts = [(stem[:cut], stem[cut:] + "|") for cut in cuts] + [
        (stem[cut + 1 :], "|" + stem[: cut + 1]) for cut in cuts
    ]
    return sorted(parts, key=lambda pair: len(pair[0]), reverse=True)


def without_one(folder: str) -> list[str]:
    """Return a path without each of its folders in turn."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:number] + parts[number + 1 :]) for number in range(len(parts))]


class Frames:
    """Renders in colour by the numbers in their names, to find the render of another output of the same frame.

    ``rgb/rgb_0001.png`` is the render of ``normals/normals_0001.png`` and of ``boxes_0001.npy``: both names have the
    part 0001, and one or two folders differ. Renders without a word for colours are not among them.

    Args:
        images: paths of pictures.
    """

    def __init__(self, images: Iterable[str]) -> None:
        self._index: dict[str, list[str]] = defaultdict(list)
        for image in filter(is_colour_render, images):
            folder, _, file = image.rpartition("/")
            stem = file.rpartition(".")[0]
            parts = [part for part, rest in parts_of(stem) if has_colour_word(rest)]
            if has_colour_word(folder):
                parts.append(stem)
            for part in filter(_has_digit, parts):
                for short in {folder, *without_one(folder)}:
                    self._index[f"{short}/{part}"].append(image)

    def find(self, name: str) -> str | None:
        """Return the render of the frame that a file belongs to; None if there is none.

        Among several ones, it is the one whose path agrees longest.
        """
        if not self._index:
            return None
        folder, _, file = name.rpartition("/")
        stem = file.rpartition(".")[0]
        shorts = dict.fromkeys([folder, *without_one(folder)])
        shorts |= dict.fromkeys(shorter for short in list(shorts) for shorter in without_one(short))
        parts = [part for part in (stem, *(part for part, _ in parts_of(stem))) if _has_digit(part)]
        for short in shorts:
            for part in parts:
                if found := self._index.get(f"{short}/{part}"):
                    return max(found, key=lambda image: _common_start(image, name))
        return None


def _common_start(first: str, second: str) -> int:
    """Return the number of characters with which both texts begin."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((number for number, (one, other) in pairs if one != other), min(len(first), len(second)))


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)
