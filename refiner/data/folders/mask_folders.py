"""Recognition of a folder that holds nothing but masks, and was given in place of the images.

A folder of masks beside its images is recognised with them. Alone it looks like any folder of images, so that its name
and its content have to tell: a name such as ``masks``, and few values in large areas.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from refiner.core.errors import ImageError, WrongInputError
from refiner.data.folders.label_images import content_of, is_label
from refiner.data.labels.picture_names import has_label_word, parts_of
from refiner.images.io import IMAGE_SUFFIXES, read_image

_SAMPLE = 5  # images that are read

_MAX_FOLDERS = 64  # folders beside this one that are searched for images


def looks_like_masks(root: Path, images: Sequence[str]) -> bool:
    """Return whether a folder and its images have names and contents of masks.

    Args:
        root: the folder.
        images: its images, as relative paths.
    """
    is_named = has_label_word(root.resolve().name) or all(has_label_word(PurePosixPath(name).stem) for name in images)
    if not images or not is_named:
        return False
    found = [_holds_label(root / name) for name in _sample(images)]
    return any(found) and False not in found


def check_masks_are_images(root: Path, masks: Sequence[str]) -> None:
    """Refuse masks whose images are in another folder.

    Raises:
        WrongInputError: an image has the name of a mask.
    """
    if (image := find_images_of(root, masks)) is not None:
        raise WrongInputError(
            f"{root} holds masks, such as those of {image}; name the folder with both, or pass --include '*' if these "
            "are the images to refine"
        )


def find_images_of(root: Path, masks: Sequence[str]) -> Path | None:
    """Return an image outside of a folder of masks that has the name of one of them; None if there is none."""
    try:
        folders = sorted(path for path in root.resolve().parent.iterdir() if path.is_dir() and path != root.resolve())
    except OSError:
        return None
    for name in _sample(masks):
        for folder in [root.resolve().parent, *folders[:_MAX_FOLDERS]]:
            for path in _namesakes(folder, PurePosixPath(name)):
                if path.is_file() and _holds_label(path) is False:
                    return path
    return None


def _namesakes(folder: Path, mask: PurePosixPath) -> Iterator[Path]:
    """Yield the paths that the image of a mask may have in a folder: 0001.png for 0001.png and for 0001_mask.png."""
    stems = [mask.stem, *(part for part, rest in parts_of(mask.stem) if has_label_word(rest))]
    for place in (folder / mask.parent, folder):
        yield from (place / f"{stem}{suffix}" for stem in stems for suffix in IMAGE_SUFFIXES)


def _sample(names: Sequence[str]) -> list[str]:
    return [names[number * len(names) // _SAMPLE] for number in range(_SAMPLE)] if len(names) > _SAMPLE else [*names]


def _holds_label(path: Path) -> bool | None:
    """Return whether an image has the content of a label; None if it cannot be read, or has one value only."""
    try:
        content = content_of(read_image(path))
    except ImageError:
        return None
    return None if content.values == 1 else is_label(content)
