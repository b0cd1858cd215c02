"""Several refined versions of each render: where they go, and what stands in their way.

Version 0 goes to the output itself, version 2 of ``refined`` to ``refined_v2``, and that of ``refined.h5`` to
``refined_v2.h5``. Each is a whole output with the labels, tables and files of a job for itself. The ids of its images
are those of the renders, so that the versions of an image fall on the same side of a split.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from refiner.core.errors import UsageError, WrongOutputError
from refiner.core.files import check_apart
from refiner.data.drift.table import DriftLimit
from refiner.data.store.store_names import is_store_name
from refiner.images.io import is_image_file

Report = Callable[[int, int], None]
"""Called with the number of finished images and the number of all images."""


class VersionOutput(NamedTuple):
    """Where one version goes.

    Attributes:
        path: the folder, store or image.
        limit: largest accepted label drift, and where the rejected images of this version go.
    """

    path: Path
    limit: DriftLimit


def version_path(path: Path, version: int, *, is_folder: bool) -> Path:
    """Return the path of a version: ``refined_v2``, ``refined_v2.h5`` or ``eye_v2.png``; ``path`` for version 0."""
    if not version:
        return path
    if path.name in ("", ".."):  # such as "."
        path = path.resolve()
    return path.with_name(f"{path.name}_v{version}") if is_folder else path.with_stem(f"{path.stem}_v{version}")


def version_outputs(source: Path, destination: Path, limit: DriftLimit, versions: int) -> list[VersionOutput]:
    """Return where each version goes.

    Args:
        source: a folder, a store, or one image.
        destination: the output of version 0; for an image, it may be a folder that exists.
        limit: the limit of version 0.
        versions: number of versions.

    Raises:
        UsageError: ``versions`` is not 1 or more.
        OutputError: a version would replace the input, or two outputs are the same or contain each other.
    """
    if versions < 1:
        raise UsageError(f"--versions is {versions}; expected 1 or more")
    if versions == 1:
        return [VersionOutput(destination, limit)]
    is_image = source.is_file() and not is_store_name(source)
    if is_image and destination.is_dir():
        destination = destination / source.name
    outputs = []
    for version in range(versions):
        path = version_path(destination, version, is_folder=not is_image and not is_store_name(destination))
        kept = limit.keep
        if kept is not None:
            is_folder = not is_store_name(kept) and not is_image_file(kept)
            kept = version_path(kept, version, is_folder=is_folder)
        outputs.append(VersionOutput(path, replace(limit, keep=kept)))
    _check_all_apart(source, outputs)
    return outputs


def _check_all_apart(source: Path, outputs: Sequence[VersionOutput]) -> None:
    """Refuse outputs that overlap before the first version is made: the last one may come hours later."""
    paths = [path for output in outputs for path in (output.path, output.limit.keep) if path is not None]
    for number, path in enumerate(paths):
        if number or source.is_dir():  # an image may be replaced by its version 0, as without versions
            check_apart(source, path)
        for other in paths[:number]:
            here, there = path.resolve(), other.resolve()
            if here.is_relative_to(there) or there.is_relative_to(here):
                raise WrongOutputError(
                    f"{path} would hold two outputs of this job; choose another name for one of them"
                )


def share_of(report: Report, version: int, versions: int) -> Report:
    """Return a report for the job of one version, which counts the images of all versions."""
    return lambda done, total: report(version * total + done, versions * total)
