"""Manifest of an output folder: which files batch jobs have written there, from which inputs, and by which jobs.

``.refiner/manifest.jsonl`` has a line for each finished input: a stamp of everything that was read for it, and the job
(refiner and options) that made the output. A line with only the name comes before it, as soon as the output is about to
be written. Lines about the folder itself hold facts, such as the input that it was made from.
"""

import itertools
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from refiner.core.files import JsonLines, read_json_lines, write_bytes
from refiner.core.parallel.shards import Shard
from refiner.data.output.output_names import leads_away

SHARDS_FOLDER = "shards"
"""Name of the folder in the state folder that holds the manifests and locks of shards."""


class Manifest:
    """Record of everything that this and earlier runs have written into an output folder.

    Args:
        state: the state folder of the output.
        shard: the shard of the job that is done here; the run without one merges the manifests of all shards.

    Attributes:
        facts: texts about the folder that earlier runs recorded, by name; see :meth:`record`.
        notes: numbers that were recorded with finished outputs, by name; see :meth:`finish`.
    """

    def __init__(self, state: Path, shard: Shard | None) -> None:
        self.facts: dict[str, str] = {}
        self.notes: dict[str, list[float | None]] = {}
        self._finished: dict[str, tuple[str, str]] = {}  # stamp and job, by name
        self._written: set[str] = set()
        # Read the manifest of earlier runs, and that of this shard.
        self._path = state / "manifest.jsonl"
        self._read(self._path)
        shards = state / SHARDS_FOLDER
        if shard is not None:
            self._path = shards / f"{shard}.jsonl"
            self._read(self._path)
        self._log = JsonLines(self._path)
        # Merge the manifests of shards. They are newer than the main one, which is not written while shards run.
        if shard is None and shards.is_dir():
            for manifest in sorted(shards.glob("*.jsonl")):
                self._read(manifest)
                for lines in _blocks(read_json_lines(manifest)):
                    self._log.append(*lines)
            shutil.rmtree(shards, ignore_errors=True)

    def _read(self, path: Path) -> None:
        for row in read_json_lines(path):
            name = row.get("file")
            if isinstance(row.get("facts"), dict):
                self.facts |= {str(fact): str(text) for fact, text in row["facts"].items()}
            if not isinstance(name, str) or leads_away(name):  # the manifest may come from another person's folder
                continue
            self._written.add(name)
            self._finished.pop(name, None)
            if row.get("removed"):
                self._written.discard(name)
            elif {"stamp", "job"} <= row.keys():
                self._finished[name] = (str(row["stamp"]), sys.intern(str(row["job"])))
                self.notes[name] = row.get("notes", [])

    @property
    def written(self) -> Set[str]:
        """Names of the files that batch jobs have written, or were about to write."""
        return self._written

    @property
    def finished(self) -> Mapping[str, tuple[str, str]]:
        """Stamp and job of each finished output, by its name."""
        return self._finished

    def record(self, **facts: str) -> None:
        """Record texts about the folder for later runs, such as the input."""
        if facts.items() - self.facts.items():
            self._log.append({"facts": facts})
            self.facts |= facts

    def begin(self, names: Sequence[str]) -> None:
        """Record that outputs are about to be written; they are not finished until :meth:`finish`."""
        self._log.append(*({"file": name} for name in names))
        self._written.update(names)
        for name in names:
            self._finished.pop(name, None)

    def finish(
        self, name: str, stamp: str, job: str, notes: list[float | None] | None, details: list[Any] | None
    ) -> None:
        """Record that an output is in place; see :meth:`refiner.data.output.folder.OutputFolder.finish`."""
        line: dict[str, Any] = {"file": name, "stamp": stamp, "job": job}
        line |= {} if notes is None else {"notes": notes}
        self._log.append(line if details is None else {**line, "details": details})
        self._finished[name] = (stamp, job)
        self.notes[name] = notes or []
        self._written.add(name)

    def forget(self, names: Sequence[str]) -> None:
        """Record that outputs were deleted: from now on, files of these names are the user's."""
        self._log.append(*({"file": name, "removed": True} for name in names))
        self._written.difference_update(names)
        for name in names:
            self._finished.pop(name, None)

    def keep_only(self, names: Sequence[str]) -> None:
        """Replace the manifest by one of these names only."""
        lines: list[dict[str, Any]] = [{"facts": self.facts}, *({"file": name} for name in names)]
        self._log.close()
        write_bytes(self._path, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        self._log = JsonLines(self._path)
        self._written = set(names)

    def details(self) -> "Details":
        """Return the details that were recorded with finished outputs."""
        return Details(self._path)

    def close(self) -> None:
        """Close the file."""
        self._log.close()


class Details:
    """Details that a manifest holds for finished outputs, read one by one; only their places are kept in memory.

    Args:
        manifest: the manifest; it must not change from now on.
    """

    def __init__(self, manifest: Path) -> None:
        self._path = manifest
        self._places: dict[str, int] = {}
        place = 0
        with manifest.open("rb") as stream:
            for line in stream:
                row = _row(line) if b'"stamp"' in line else {}
                if "details" in row:
                    self._places[row["file"]] = place
                elif row:  # it was made again without details
                    self._places.pop(row.get("file", ""), None)
                place += len(line)

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, list[Any]]]:
        """Yield each name with its details; an empty list if it has none."""
        with self._path.open("rb") as stream:
            for name in names:
                if name in self._places:
                    stream.seek(self._places[name])
                    yield name, _row(stream.readline())["details"]
                else:
                    yield name, []


def _blocks(lines: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Divide lines into lists that do not fill the memory."""
    while block := list(itertools.islice(lines, 1000)):
        yield block


def _row(line: bytes) -> dict[str, Any]:
    """Return the object of a line; empty if a killed process left it incomplete."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}
