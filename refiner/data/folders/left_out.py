"""Report of what a folder holds besides usable images: rows without image, label images, files of other types."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from refiner.core.errors import WrongInputError
from refiner.data.folders.contents import FolderContents, is_document
from refiner.data.labels.tables import LABELS_FILE, REJECTED_FILE, LabelTable, read_rejected

EXAMPLES = 3
"""Number of names in a sentence."""

ROWS_WITHOUT_IMAGE = "rows without image"


@dataclass(frozen=True)
class LeftOut:
    """Files or rows that a command does not use as images and labels.

    Attributes:
        key: short name of the kind, such as ``rows without image``.
        count: number of files or rows.
        examples: the first names.
        text: one sentence with the number and the first names.
        is_loss: True if labels or images are lost by it in a data set that is written from this one.
    """

    key: str
    count: int
    examples: tuple[str, ...]
    text: str
    is_loss: bool = False


def left_out(key: str, names: Iterable[str], one: str, many: str, *, is_loss: bool = False) -> Iterator[LeftOut]:
    """Yield one report for some names, or none if there are no names.

    Args:
        key: see :class:`LeftOut`.
        names: names of the files or rows.
        one, many: the sentence for one and for several names, with ``{count}``.
        is_loss: see :class:`LeftOut`.
    """
    if found := list(names):
        sentence = (one if len(found) == 1 else many).format(count=f"{len(found):,}")
        more = f" and {len(found) - EXAMPLES:,} more" if len(found) > EXAMPLES else ""
        yield LeftOut(
            key, len(found), tuple(found[:EXAMPLES]), f"{sentence}: {', '.join(found[:EXAMPLES])}{more}", is_loss
        )


def open_labels(root: Path, contents: FolderContents) -> LabelTable | None:
    """Open the label table of a folder and match its rows with the images.

    Args:
        root: the folder.
        contents: its files.

    Returns:
        The table; None if there is none, or it is excluded.

    Raises:
        DataError: the table cannot be read, or none of its rows names an image.
    """
    path, names = root / LABELS_FILE, contents.images
    if LABELS_FILE not in contents.companions:
        return None
    table = LabelTable(path)
    table.match(names, root)
    if len(table) and not any(name in table for name in names):
        row = next(iter(table))
        raise WrongInputError(
            f"no row of {path} names an image of the folder: the first row names {row}, and the first image is "
            f"{names[0]}; write into the column 'file' the path of each image below the folder"
        )
    return table


def find_left_out(root: Path, contents: FolderContents, table: LabelTable | None) -> list[LeftOut]:
    """Return reports about the files of a folder and the rows of its table, in a fixed order."""
    return [*_about_labels(root, contents, table), *_about_files(contents)]


def _about_labels(root: Path, contents: FolderContents, table: LabelTable | None) -> Iterator[LeftOut]:
    if table is None:
        return
    # Rows of images that are known and were left out for another reason are no surprise.
    images, explained = {*contents.images}, {*contents.excluded, *contents.unsupported, *contents.label_images}
    missing = [row for row in table if row not in images and row not in explained]
    if missing:
        earlier = read_rejected(root / REJECTED_FILE)
        missing = [row for row in missing if row not in earlier]
    table_name = LABELS_FILE
    yield from left_out(
        ROWS_WITHOUT_IMAGE,
        missing,
        f"{{count}} row of {table_name} names no image, so its labels are not used",
        f"{{count}} rows of {table_name} name no image, so their labels are not used",
        is_loss=True,
    )
    yield from left_out(
        "images without row",
        (name for name in contents.images if name not in table),
        f"{{count}} image has no row in {table_name}, so it has no labels",
        f"{{count}} images have no row in {table_name}, so they have no labels",
        is_loss=True,
    )
    yield from left_out(
        "other names",
        (f"{row} for {name}" for name, row in table.renamed.items()),
        f"{{count}} row of {table_name} was matched with an image of another spelling",
        f"{{count}} rows of {table_name} were matched with images of another spelling",
    )


def _about_files(contents: FolderContents) -> Iterator[LeftOut]:
    yield from left_out(
        "label images",
        contents.label_images,
        "{count} image is a label of another one, such as a mask or depth map, and is not used as an image",
        "{count} images are labels of others, such as masks or depth maps, and are not used as images",
    )
    yield from left_out(
        "files beside images",
        (name for name in contents.companions if name != LABELS_FILE and not is_document(name)),
        "{count} file beside the images is not read for labels",
        "{count} files beside the images are not read for labels",
    )
    yield from left_out(
        "unsupported types",
        contents.unsupported,
        "{count} picture has a type that is not supported; convert it to PNG",
        "{count} pictures have types that are not supported; convert them to PNG",
    )
    yield from left_out(
        "other files",
        contents.others,
        "{count} file is neither an image nor a known label file",
        "{count} files are neither images nor known label files",
        is_loss=True,
    )
    yield from left_out(
        "repeated links",
        contents.listing.repeated,
        "{count} link to a folder is not followed, as the folder is read under another name",
        "{count} links to folders are not followed, as the folders are read under other names",
    )
    yield from left_out(
        "excluded",
        contents.excluded,
        "{count} file is left out by --include and --exclude",
        "{count} files are left out by --include and --exclude",
    )
    yield from left_out(
        "unused patterns",
        contents.unused_patterns,
        "{count} pattern of --include and --exclude matches no file",
        "{count} patterns of --include and --exclude match no file",
    )
