"""Checks of the files that a command has written; see ``cases.py``."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from click.testing import Result
from sandboxes import Case, digest

from refiner.data.folders.listing import list_files
from refiner.data.formats.registry import open_dataset
from refiner.images.io import is_image_file, read_image

_HELD_IN = {".h5": ("store", "mpiigaze-hdf5", "gaze-hdf5"), ".mat": ("mpiigaze", "mpiigaze-evaluation", "nyu-hand")}


def result_problems(case: Case, result: Result) -> Iterator[str]:
    """Check the result of a command that succeeded, or the failure of one that did not."""
    metrics: dict[str, Any] = {}
    if case.command == "inspect" and not result.stdout.startswith("{"):
        return
    if result.exit_code in (0, 4):
        try:
            metrics = json.loads(result.stdout, parse_constant=_refuse)
        except ValueError as error:
            yield f"no JSON on standard output ({error}): {result.stdout[:80]!r}"
            return
    try:
        if case.command == "inspect":
            return
        if case.command == "refine":
            yield from refined_problems(case, result, metrics)
        else:
            yield from converted_problems(case, result, metrics)
    except Exception as error:  # any exception of a reader is a finding
        yield f"the result cannot be read: {type(error).__name__} {str(error)[:200]}"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def converted_problems(case: Case, result: Result, metrics: dict[str, Any]) -> Iterator[str]:
    """Check that a conversion lost no sample."""
    ids = case.expected()
    sound = set() if case.options or case.odd_output or ids is None else sound_samples(case, ids)
    if result.exit_code in (1, 2):
        line = result.stderr.splitlines()[-1]
        if sound and "a store holds only one kind" not in line:
            yield f"{len(sound)} sound samples lost: {line[:300]}"
        return
    if not metrics or ids is None or case.odd_output:
        return
    ids = ids[:2] if "--limit" in case.options else ids
    summary = metrics["splits"][""]
    written, rejected = outputs_of(case.out), rejects_of(case.out)
    if (len(written), len(rejected)) != (summary["written"], summary["rejected"]):
        said = f"{summary['written']} and {summary['rejected']}"
        yield f"{len(written)} there and {len(rejected)} in rejected.csv, but said {said}"
    if len(written) + len(rejected) != len(ids):
        yield f"{len(ids)} samples, {len(written)} written, {len(rejected)} rejected"
    left_out = any(line[:1].isdigit() for line in result.stderr.splitlines())  # rows or files that are named
    if (result.exit_code == 4) != bool(rejected) and not (result.exit_code == 4 and left_out):
        yield f"exit status {result.exit_code} with {len(rejected)} rejected"
    for sample in sorted(sound):
        names = [sample, PurePosixPath(sample).with_suffix(".png").as_posix(), f"{sample}.png"]
        if not any(written.get(name) == case.source.digests[sample] for name in names):
            yield f"sound sample {sample} lost or changed: {rejected.get(sample)}"


def sound_samples(case: Case, ids: list[str]) -> set[str]:
    """Return the samples that no damage touched, if the layout is still recognized."""
    layout = case.source.name
    found = type(open_dataset(case.path, format=case.format))
    if found is not type(open_dataset(case.source.folder / case.source.file, format=case.format and layout)):
        return set()
    held_in = next((suffix for suffix, layouts in _HELD_IN.items() if layout.startswith(layouts)), "labels.csv")
    if any(name.endswith((held_in, "labels.csv")) for name in case.touched):
        return set()
    if layout.startswith("mpiigaze") and case.touched:  # a day or a list describes many samples
        return set()
    stems = {PurePosixPath(name).with_suffix("").as_posix() for name in case.touched}
    return {name for name in ids if PurePosixPath(name).with_suffix("").as_posix() not in stems} & set(
        case.source.digests
    )


def refined_problems(case: Case, result: Result, metrics: dict[str, Any]) -> Iterator[str]:
    """Check that a refinement lost no image."""
    if not metrics or case.odd_output:
        return
    if case.out.suffix == ".h5" or not case.path.is_dir():
        if case.out.suffix == ".h5" and open_dataset(case.out).ids != open_dataset(case.path).ids:
            yield "the refined store has other images"
        return
    rejected = rejects_of(case.out)
    for name in list_files(case.path):
        there = case.out / name
        if name in ("rejected.csv", "drift.csv") or name in rejected:
            continue
        if not is_image_file(Path(name)) and any(name.startswith(image.rpartition(".")[0]) for image in rejected):
            continue  # the files of a rejected image are left out with it
        if not there.is_file():
            yield f"{name} is neither there nor rejected"
        elif is_image_file(Path(name)):
            before, after = read_image(case.path / name), read_image(there)
            keeps = before.shape == after.shape or name.lower().endswith(
                ".webp"
            )  # WebP has no grey and no opaque alpha
            if not keeps or before.shape[:2] != after.shape[:2] or before.dtype != after.dtype:
                yield f"{name} was {before.shape} {before.dtype}, is {after.shape} {after.dtype}"
    if len(rejected) != metrics["rejected"]:
        yield f"{len(rejected)} in rejected.csv, said {metrics['rejected']}"


def outputs_of(out: Path) -> dict[str, str]:
    """Return the digest of each image of a result, by name; all labels are read, too."""
    dataset = open_dataset(out, format="store" if out.suffix == ".h5" else "folder")
    return {name: digest(dataset.read(name).image) for name in dataset.ids}


def rejects_of(out: Path) -> dict[str, str]:
    """Return the reasons of rejection by sample."""
    path = out.with_suffix(".rejected.csv") if out.suffix == ".h5" else out / "rejected.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if len({row["file"] for row in rows}) != len(rows):
        raise ValueError("rejected.csv has two rows of one sample")
    return {row["file"]: row["reason"] for row in rows}
