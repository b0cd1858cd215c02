"""Refinement of a folder into a folder: list the images, give out tasks to workers, and record the outcomes."""

import contextlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from refiner.core.errors import WrongInputError
from refiner.core.files import check_apart, content_digest
from refiner.core.parallel.executors import Engine
from refiner.core.parallel.shards import Shard
from refiner.data.drift.regions import LabelRegion, checked_region
from refiner.data.drift.table import DriftLimit
from refiner.data.folders.contents import explain_no_images, read_contents
from refiner.data.folders.labels import open_labels, with_drift_objects
from refiner.data.folders.left_out import LeftOut, find_left_out
from refiner.data.folders.mask_folders import check_masks_are_images, looks_like_masks
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.output.folder import open_output
from refiner.inference.jobs.dropped_objects import ObjectDropper
from refiner.inference.jobs.folder_job import FolderJob
from refiner.inference.jobs.folder_worker import FileRefinement
from refiner.inference.jobs.settings import settle
from refiner.inference.refiner import RefinerSource


def refine_folder(
    source: Path,
    destination: Path,
    refiner: RefinerSource,
    requested: tuple[str, str],
    *,
    engine: Engine,
    overwrite: bool,
    stop_on_error: bool,
    quality: int,
    limit: DriftLimit,
    region: LabelRegion,
    shard: Shard | None,
    report: Callable[[int, int], None],
    selection: Selection = EVERYTHING,
) -> tuple[int, int, int, tuple[LeftOut, ...], int]:
    """Refine the images of a folder into another folder; see :func:`refiner.inference.jobs.refine.refine_path`.

    Returns:
        Numbers of refined, skipped and rejected images, reports about other files and about the labels, and the number
        of files that were copied.

    Raises:
        DataError: the folder holds no images, or its label table cannot be read or names none of them.
        ImageError: ``stop_on_error`` is True, and an image cannot be used.
        OutputError: a file cannot be written, or would be lost.
    """
    contents = read_contents(source, selection, masks=region.mask)
    if not contents.images:
        raise WrongInputError(explain_no_images(source, contents))
    if not selection.include and looks_like_masks(source, contents.images):
        check_masks_are_images(source, contents.images)
    for link in contents.listing.links:  # refined images must not come back as input through a link
        check_apart(source / link, destination)
    own_labels = labels = open_labels(source, contents)
    if region.mask is None:
        labels = with_drift_objects(source, contents, labels)
    region = checked_region(region, source, labels)
    region.check_masks(source, contents.images)
    dropper = ObjectDropper(source, labels, region, limit) if limit.drop_objects else None
    with contextlib.ExitStack() as stack:
        # Open the output folders.
        open_folder = partial(open_output, source, overwrite=overwrite, shard=shard)
        output = stack.enter_context(open_folder(destination))
        kept = None
        if limit.keep is not None:
            check_apart(destination, limit.keep)
            kept = stack.enter_context(open_folder(limit.keep))
        output.check_origin("refine", lambda name: content_digest(source / name))
        if kept is not None:
            kept.check_origin("refine --keep-rejected", lambda name: content_digest(source / name))
        # Fix the job: the outputs depend on the refiner, on what computes it, and on the options.
        refiner = settle(refiner, destination, requested, anew=overwrite and shard is None)
        output.job = json.dumps({"refiner": refiner.digest, "quality": quality, **region.job}, sort_keys=True)
        if kept is not None:
            kept.job = output.job
        # Refine the images that are not finished.
        refinement = FileRefinement(refiner, source, destination, limit.keep, quality, limit, region)
        folder_job = FolderJob(source, contents, labels, region, output, kept, limit, dropper, stop_on_error, report)
        numbers = folder_job.run(lambda tasks: engine.map(refinement, tasks))
    reports = [*find_left_out(source, contents, own_labels, copies=True), *folder_job.reports()]
    return *numbers, tuple(reports), len(folder_job.copied)
