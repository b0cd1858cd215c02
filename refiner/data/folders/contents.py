"""Contents of a folder of images: images, label images, files that accompany them, and files of no use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from refiner.data.annotations.registry import find_sources
from refiner.data.annotations.source import LabelSource
from refiner.data.drift.table import DRIFT_FILE, DROPPED_FILE
from refiner.data.folders.label_images import find_label_images
from refiner.data.folders.listing import Listing, list_folder
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.labels.picture_names import Frames
from refiner.data.labels.tables import REJECTED_FILE
from refiner.images.io import is_image_file

OWN_TABLES = (REJECTED_FILE, DRIFT_FILE, DROPPED_FILE)
"""Tables that refining writes into a folder; they describe the step that wrote them, not the images for the next."""

_UNSUPPORTED = """
    .gif .jp2 .j2k .jpx .jpf .tga .jfif .jpe .heic .heif .avif .jxl .exr .hdr .pfm .pbm .pnm .pam .psd .dds .pcx .sgi
    .ras .ico .svg .dng .cr2 .cr3 .nef .arw .dcm .apng .mp4 .avi .mov .mkv .webm
"""

UNSUPPORTED_SUFFIXES = frozenset(_UNSUPPORTED.split())
"""Suffixes of files that hold pictures, but are not read, in lower case."""

_IGNORED = ("thumbs.db", "desktop.ini")
_DOCUMENTS = ("readme", "license", "licence", "copying", "notice", "authors", "citation", "changelog")


@dataclass(frozen=True)
class FolderContents:
    """The files of a folder by their use; names are relative paths with forward slashes, sorted.

    Attributes:
        images: images to refine, convert or train on.
        label_images: masks and other images whose pixels are labels, each with its image, or None if it is unknown.
        listing: all files, and the links to folders.
        unused_patterns: patterns of the selection that match no file.
        companions: other files of any kind, each with the image whose name it has, or None if it belongs to several
            images or to the whole folder.
        unsupported: pictures of types that are not read and that belong to no image, each with the reason.
        others: files and folders that cannot be used at all, each with the reason.
        excluded: files that the selection leaves out, and the files that belong to such images.
        sources: annotations of the images in other formats than ``labels.csv``.
        selection: the files that the user asked for.
    """

    images: list[str]
    label_images: dict[str, str | None]
    listing: Listing
    unused_patterns: list[str] = field(default_factory=list)
    companions: dict[str, str | None] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    excluded: list[str] = field(default_factory=list)
    sources: list[LabelSource] = field(default_factory=list)
    selection: Selection = EVERYTHING

    @property
    def annotation_files(self) -> set[str]:
        """Files that hold labels in other formats than ``labels.csv``; they are among the companions."""
        return {name for source in self.sources for name in source.files}


def read_contents(root: Path, selection: Selection = EVERYTHING, *, masks: Path | None = None) -> FolderContents:
    """List a folder and sort its files by their use. Images are not decoded, but for a few possible label images.

    ``labels.csv`` and annotation files are among the companions. The tables that refining writes are left out.

    Args:
        root: the folder.
        selection: the files to use. Patterns to include are for pictures; other files follow their image. Label images
            are recognised among the included pictures: excluding an image does not turn its mask into an image.
        masks: a mask or a folder of masks that the user named; if it is in ``root``, its files are label images.

    Raises:
        DataError: an annotation file cannot be used.
    """
    listing = list_folder(root)
    names = [name for name in listing.files if name not in OWN_TABLES and name.lower() not in _IGNORED]
    pictures = [name for name in names if is_image_file(Path(name)) and name.split("/")[0] not in OWN_TABLES]
    # Tell images from label images: by the user, by annotations, else by their names and contents.
    known = set(pictures)
    readable = [name for name in names if name in known or not selection.excludes(name)]
    sources = find_sources(root, readable, pictures)
    annotated = {name: image for source in sources for name, image in source.label_images.items()}
    included = [name for name in pictures if selection.includes(name)]
    declared = {name for name in included if masks is not None and _is_within(root / name, masks)}
    labels = dict.fromkeys(declared) | {name: image for name, image in annotated.items() if selection.includes(name)}
    guessed = find_label_images(root, [name for name in included if name not in labels])
    labels |= {name: image for name, image in guessed.items() if not any(name in source for source in sources)}
    images = [name for name in included if name not in labels and not selection.excludes(name)]
    # A file that belongs to an image which is left out is left out with it.
    used = {None, *images}
    label_images = {
        name: image for name, image in sorted(labels.items()) if image in used and not selection.excludes(name)
    }
    found = FolderContents(images, label_images, listing, selection.unused(names), sources=sources, selection=selection)
    # Of two images of one name, such as 1.jpg and 1.png, the one that is used owns their files.
    owners = _Owners(sorted((name for name in pictures if name not in labels), key=used.__contains__))
    annotations = found.annotation_files
    shared = {name for source in sources if len(source.files) == 1 for name in source.files}
    for name in sorted(set(names) - known - set(labels)):
        owner = None if name in shared else owners.find(name)
        if selection.excludes(name) or owner not in used:
            continue
        if name.split("/")[0] in OWN_TABLES:
            table = name.split("/")[0]
            found.others[name] = f"is in a folder named {table}, which is the name of a table that refining writes"
        elif owner is None and is_unsupported(name) and name not in annotations:
            if selection.includes(name):
                found.unsupported[name] = why_unsupported(name)
        else:
            found.companions[name] = owner
    found.others.update(listing.unread)
    kept = {*images, *label_images, *found.companions, *found.unsupported, *found.others}
    found.excluded.extend(name for name in names if name not in kept)
    return found


class _Owners:
    """The images of a folder by their names without suffix, to find the image that another file belongs to."""

    def __init__(self, images: Sequence[str]) -> None:
        self._images = images
        self._frames: Frames | None = None
        self._by_path: dict[str, str] | None = None
        self._by_stem: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        """Return the image whose name a file has: 1.png for 1, 1.json, 1_landmarks.txt and 1.png.xml.

        If there is none, it is the render of the same frame: rgb_0001.png for boxes_0001.npy.
        """
        if self._by_path is None:  # most folders have no other files
            self._by_path = {without_suffix(image): image for image in self._images}
            for image_path, image in self._by_path.items():
                stem = image_path.rpartition("/")[2]
                self._by_stem[stem] = None if stem in self._by_stem else image
        folder, slash, file = name.rpartition("/")
        parts = [file, *(file[:cut] for cut in range(len(file) - 1, 0, -1) if file[cut] in "._-")]
        # The same folder comes first; elsewhere, the name must be that of one image only.
        for part in parts:
            if f"{folder}{slash}{part}" in self._by_path:
                return self._by_path[f"{folder}{slash}{part}"]
        if elsewhere := next((self._by_stem[part] for part in parts if self._by_stem.get(part)), None):
            return elsewhere
        self._frames = self._frames or Frames(self._images)
        return self._frames.find(name)


def without_suffix(name: str) -> str:
    """Return a relative path without its suffix; images that share it, such as 1.png and 1.jpg, share their files."""
    return name.rpartition(".")[0]


def is_unsupported(name: str) -> bool:
    """Return whether a file may hold a picture, but has a type that is not read, by its name."""
    return PurePosixPath(name).suffix.lower() in UNSUPPORTED_SUFFIXES


def why_unsupported(name: str) -> str:
    """Return the reason why a picture of such a type is rejected."""
    return f"is a {PurePosixPath(name).suffix.lower()} file, and this type is not supported; convert it to PNG"


def is_document(name: str) -> bool:
    """Return whether a file holds notes and no labels, by its name."""
    base = PurePosixPath(name).name.lower()
    return base.endswith(".md") or base.partition(".")[0] in _DOCUMENTS  # README.dataset.txt of Roboflow as well


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def explain_no_images(root: Path, contents: FolderContents) -> str:
    """Return the sentence for a folder without images, with what was found instead."""
    found = list(_found_instead(contents))
    containers = [name for name in contents.companions if name.lower().endswith((".hdf5", ".h5"))]
    hint = "; BlenderProc's .hdf5 containers are not read, so write with its write_bop or write_coco_annotations"
    return (
        f"{root} holds no images; expected .png, .jpg or similar files, at any depth"
        + (f" (found {', '.join(found)})" if found else "")
        + (hint if containers else "")
    )


def _found_instead(contents: FolderContents) -> Iterator[str]:
    for what, files in (
        ("files of unsupported types", contents.unsupported),
        ("label images", contents.label_images),
        ("other files", contents.companions),
        ("excluded files", contents.excluded),
    ):
        if files:
            yield f"{len(files):,} {what}, such as {next(iter(files))}"
