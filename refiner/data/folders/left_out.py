"""Report of what a folder holds besides usable images: rows without image, label images, files of other types."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from refiner.data.folders.contents import FolderContents, is_document
from refiner.data.folders.labels import FolderLabels, source_name
from refiner.data.folders.mask_folders import looks_like_masks
from refiner.data.labels.tables import LABELS_FILE, REJECTED_FILE, read_rejected

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


def find_left_out(
    root: Path, contents: FolderContents, labels: FolderLabels | None, *, copies: bool = False
) -> list[LeftOut]:
    """Return reports about the files of a folder and the rows of its labels, in a fixed order.

    Args:
        root: the folder.
        contents: its files.
        labels: its labels; None if it has none.
        copies: True if every file beside the images was copied unchanged, so that no label is lost with it.
    """
    about_labels = () if labels is None else _about_labels(root, contents, labels, copies=copies)
    return [*about_labels, *_about_files(contents, labels, copies=copies), *_about_masks(root, contents)]


def _about_masks(root: Path, contents: FolderContents) -> Iterator[LeftOut]:
    """Yield a report if the images seem to be masks, unless the user named them with ``--include``."""
    if not contents.selection.include and looks_like_masks(root, contents.images):
        yield from left_out(
            "masks as images",
            contents.images,
            "{count} image looks like a mask by its name and content, and is used as an image",
            "{count} images look like masks by their names and contents, and are used as images",
        )


def _about_labels(root: Path, contents: FolderContents, labels: FolderLabels, *, copies: bool) -> Iterator[LeftOut]:
    sources = [source for source in labels.all_sources if source.names]
    # Rows of images that are known and were left out for another reason are no surprise.
    images, explained = {*contents.images}, {*contents.excluded, *contents.unsupported, *contents.label_images}
    missing = [name for name in labels if name not in images and name not in explained]
    if missing:
        earlier = read_rejected(root / REJECTED_FILE)
        missing = [name for name in missing if name not in earlier]
    row, rows = ("row", "rows") if sources == [labels.table] else ("entry", "entries")
    table = " and ".join(source_name(source) for source in sources[:EXAMPLES])
    yield from left_out(
        ROWS_WITHOUT_IMAGE,
        missing,
        f"{{count}} {row} of {table} names no image, so its labels are not used",
        f"{{count}} {rows} of {table} name no image, so their labels are not used",
        is_loss=True,
    )
    yield from left_out(
        "images without row",
        (name for name in contents.images if sources and name not in labels),
        f"{{count}} image has no {row} in {table}, so it has no labels",
        f"{{count}} images have no {row} in {table}, so they have no labels",
        is_loss=not labels.sources,  # annotation files need not name images without objects
    )
    yield from left_out(
        "other names",
        (f"{row} for {name}" for name, row in labels.renamed.items()),
        f"{{count}} row of {LABELS_FILE} was matched with an image of another spelling",
        f"{{count}} rows of {LABELS_FILE} were matched with images of another spelling",
    )
    yield from left_out(
        "annotation faults",
        (problem for source in labels.sources for problem in source.problems),
        "{count} fault of the annotations",
        "{count} faults of the annotations",
        is_loss=not copies,
    )
    yield from left_out(
        "annotation oddities",
        (oddity for source in labels.sources for oddity in getattr(source, "oddities", ())),
        "{count} thing in the annotations that other programs may read in another way",
        "{count} things in the annotations that other programs may read in another way",
    )
    yield from left_out(
        "labels given twice",
        (f"{label} of {sample} ({first} is used, not {second})" for sample, label, first, second in labels.clashes()),
        "{count} label has different values in two files; leave one of the files out with --exclude",
        "{count} labels have different values in two files; leave one of the files out with --exclude",
        is_loss=not copies,
    )


def _about_files(contents: FolderContents, labels: FolderLabels | None, *, copies: bool) -> Iterator[LeftOut]:
    read = frozenset() if labels is None else labels.files
    yield from left_out(
        "label images",
        contents.label_images,
        "{count} image is a label of another one, such as a mask or depth map, and is "
        + ("copied unchanged" if copies else "not used as an image"),
        "{count} images are labels of others, such as masks or depth maps, and are "
        + ("copied unchanged" if copies else "not used as images"),
    )
    yield from left_out(
        "files beside images",
        (name for name in contents.companions if name not in read and not is_document(name)),
        "{count} file beside the images is not read for labels" + (", and copied unchanged" if copies else ""),
        "{count} files beside the images are not read for labels" + (", and copied unchanged" if copies else ""),
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
        "{count} file or folder cannot be used",
        "{count} files or folders cannot be used",
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
