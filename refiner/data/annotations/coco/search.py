"""Search for COCO files among the JSON files of a folder, without reading those that are something else."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

HEAD = 4096
"""Number of bytes at the start of a file by which COCO is recognised."""

LONG_HEAD = 2**18
"""The same for a few files that begin with other facts."""

_FIRST_KEYS = frozenset(["info", "licenses", "licences", "license", "images", "annotations", "categories", "type"])
_FIRST = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"([^"]*)"\s*:')
LISTS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')

_MAX_UNCLEAR = 20
"""Number of JSON files with unclear starts of which more is read; sidecars of images are many, COCO files are few."""

_MANY, _FEW = 100, 10
"""Number of files of one kind of name from which only a few are read at first, and how many."""

_NUMBER = re.compile(r"\d+")


def find_candidates(root: Path, files: Sequence[str], images: Sequence[str]) -> Iterator[str]:
    """Yield the JSON files that may be COCO by their names and their first bytes."""
    # A file with the name of an image is about that image alone.
    stems = {image.rpartition(".")[0] for image in images}
    kinds: dict[str, list[str]] = {}
    for name in files:
        if name.lower().endswith(".json") and name[: -len(".json")] not in stems and name not in stems:
            kinds.setdefault(_NUMBER.sub("0", name), []).append(name)
    unclear = []
    for names in kinds.values():
        # Of many files whose names differ by their numbers alone, a few show what they are.
        few = names[:: len(names) // _FEW] if len(names) > _MANY else names
        if len(few) < len(names) and not any(may_be_coco(root / name, HEAD) for name in few):
            continue
        for name in names:
            verdict = may_be_coco(root / name, HEAD)
            if verdict:
                yield name
            elif verdict is None:
                unclear.append(name)
    for name in unclear if len(unclear) <= _MAX_UNCLEAR else ():
        if may_be_coco(root / name, LONG_HEAD):
            yield name


def may_be_coco(path: Path, head: int = HEAD) -> bool | None:
    """Return whether a JSON file may be COCO, by its start; None if more of it has to be read.

    A file cannot be COCO if it holds a list, or another first key and none of COCO's lists.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(head)
    except OSError:
        return False
    first = _FIRST.match(start)
    if first is None:
        return False
    if first[1].decode("latin-1") in _FIRST_KEYS:
        return True
    found = {match[1] for match in LISTS.finditer(start)}
    if b"images" in found or (found and head > HEAD):
        return True
    return None if len(start) == head else False
