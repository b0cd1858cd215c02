"""Folder to folder, store to store, image to image: what is asked for, and who does it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.devices import resolve_device
from refiner.core.errors import ConfigurationError, DataError, ImageError, OutputError
from refiner.core.parallel.executors import Engine
from refiner.core.parallel.shards import Shard
from refiner.data.labels.drift import NO_LIMIT, DriftLimit, measure_label_drift
from refiner.data.labels.regions import ANYTHING, LabelRegion
from refiner.data.store.store_names import is_store_name
from refiner.images.arrays import to_planes
from refiner.images.io import LOSSLESS, is_lossless_webp, read_image, write_image
from refiner.inference.backends.autoselect import backend_for
from refiner.inference.backends.registry import ON_CARDS, engine_module
from refiner.inference.folder import refine_folder
from refiner.inference.plan import AUTO, job_extent, workers_for
from refiner.inference.refiner import RefinerSource
from refiner.inference.store import refine_store
from refiner.models.refiner_file import load_refiner, refiner_digest

Report = Callable[[int, int], None]


class Summary(NamedTuple):
    """What a batch did: counts of images."""

    refined: int
    skipped: int
    rejected: int


def refine_path(
    source: Path,
    destination: Path,
    refiner: Path,
    *,
    device: str = "auto",
    backend: str = AUTO,
    engine: str = "local",
    workers: int | None = 1,
    shard: Shard | None = None,
    overwrite: bool = False,
    stop_on_error: bool = False,
    quality: int = 95,
    limit: DriftLimit = NO_LIMIT,
    region: LabelRegion = ANYTHING,
    report: Report = lambda done, total: None,
) -> Summary:
    """Refine a folder into a folder, a store into a store, or an image into an image.

    Args:
        source: a folder, searched recursively, a store, or one image.
        destination: the folder, the store, or the image, to write.
        refiner: a refiner file or a run folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        backend: what computes, see :mod:`refiner.inference.backends.registry`; ``auto`` tries which is fastest where
            the job is large.
        engine: ``local``, or ``ray`` for the cluster that Ray finds.
        workers: processes; None takes one a core where there is much to do. With more than one, a program of your own
            needs the usual ``__name__`` guard.
        shard: the share of the job that is done here; a run without one gathers what others did, and does the rest.
        overwrite: refine everything again, and replace files that are there.
        stop_on_error: raise at the first image that cannot be used, instead of rejecting it.
        quality: of JPEG and WebP files.
        limit: on the drift of labels.
        region: where drift is read.
        report: told how many of how many images are dealt with.

    Returns:
        How many images were refined, skipped (finished before) and rejected.

    Raises:
        RefinerError: the source, the refiner or the destination cannot be used.
    """
    loaded = load_refiner(refiner)
    extent = job_extent(source)
    device = "cpu" if device == "auto" and backend not in (AUTO, *ON_CARDS) else resolve_device(device)
    computed_by = Engine(
        engine, workers or (0 if engine == "ray" else workers_for(extent, loaded.architecture, device))
    )
    options: dict[str, Any] = {"overwrite": overwrite, "limit": limit, "region": region}
    if backend == AUTO:
        backend = backend_for(extent, loaded, device=device)
    computed_by.prepare(
        "refiner.inference.store" if is_store_name(source) else "refiner.inference.folder_worker",
        engine_module(backend),
    )
    opened = RefinerSource(refiner, refiner_digest(refiner), device, backend, computed_by.threads, loaded)
    if is_store_name(source) or (is_store_name(destination) and not source.is_file()):
        _check_stores(source, destination)
        work = partial(refine_store, source, destination, opened)
    elif source.is_dir():
        work = partial(refine_folder, source, destination, opened, stop_on_error=stop_on_error, quality=quality)
    elif engine == "ray" or shard is not None:
        raise ConfigurationError(f"{source}: --engine ray and --shard share out a folder or a store, not one image")
    else:
        return _refine_image(source, destination, opened, quality=quality, **options)
    return Summary(*work(engine=computed_by, shard=shard, report=report, **options))


def _refine_image(
    source: Path,
    destination: Path,
    opened: RefinerSource,
    *,
    quality: int,
    overwrite: bool,
    limit: DriftLimit,
    region: LabelRegion,
) -> Summary:
    if not source.exists():
        raise DataError(f"{source}: does not exist; name a folder or an image")
    region.check(source, ())
    if destination.is_dir():
        destination = destination / source.name
    if destination.exists() and not overwrite:
        raise OutputError(f"{destination}: is there already; choose another name, or replace it with --overwrite")
    refiner, image = opened.open(), read_image(source)
    refined = refiner(image)
    before, after = (to_planes(picture, refiner.channels)[None] for picture in (image, refined))
    (drift,) = measure_label_drift(before, after, [region.watched(source.name, {}, image.shape[:2])])
    if limit.rejects(drift):
        raise ImageError(source, f"{limit.reason(drift)}; nothing is written")
    write_image(destination, refined, quality=LOSSLESS if is_lossless_webp(source) else quality)
    return Summary(1, 0, 0)


def _check_stores(source: Path, destination: Path) -> None:
    """Refuse a folder on one side and a store on the other."""
    if source.is_dir() or not is_store_name(destination):
        raise OutputError(
            f"{destination}: a folder is refined into a folder and a store into a store; convert one of them first: "
            "refiner convert IN OUT.h5"
        )
