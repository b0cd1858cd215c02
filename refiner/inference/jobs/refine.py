"""Refinement of a folder, a store or one image: select the backend and the workers, and run the job."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.devices import resolve_device
from refiner.core.errors import ImageError, UsageError, WrongInputError, WrongOutputError
from refiner.core.parallel.executors import Engine
from refiner.core.parallel.shards import Shard
from refiner.core.path_kinds import is_network, path_kind
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.regions import ANYTHING, LabelRegion
from refiner.data.drift.table import NO_LIMIT, DriftLimit
from refiner.data.folders.left_out import LeftOut
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.store.store_names import is_store_name
from refiner.images.arrays import to_planes
from refiner.images.io import LOSSLESS, is_image_file, is_lossless_webp, read_picture, write_image
from refiner.inference.backends.autoselect import choose_backend
from refiner.inference.backends.batching import Extent
from refiner.inference.backends.registry import CUDA_BACKENDS, backend_module, check_architecture, check_version
from refiner.inference.jobs.folder import refine_folder
from refiner.inference.jobs.plan import job_extent, workers_for
from refiner.inference.jobs.settings import AUTO, Settings, check_usable, earlier_settings
from refiner.inference.jobs.store import refine_store
from refiner.inference.jobs.versions import Report, VersionOutput, share_of, version_outputs
from refiner.inference.refiner import RefinerSource
from refiner.models.files.refiner_file import RefinerFile, load_refiner, refiner_digest


class Summary(NamedTuple):
    """The result of a job, in numbers of images.

    Attributes:
        refined: refined by this run.
        skipped: finished by an earlier run.
        rejected: unreadable, or refined with more label drift than the limit.
        left_out: reports about label images, rows without image, and other files.
        copied: number of files beside the images that the output holds unchanged.
    """

    refined: int
    skipped: int
    rejected: int
    left_out: Sequence[LeftOut] = ()
    copied: int = 0


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
    versions: int = 1,
    overwrite: bool = False,
    stop_on_error: bool = False,
    quality: int = 95,
    limit: DriftLimit = NO_LIMIT,
    region: LabelRegion = ANYTHING,
    selection: Selection = EVERYTHING,
    report: Report = lambda done, total: None,
) -> Summary:
    """Refine a folder into a folder, a store into a store, or an image into an image.

    Finished images are skipped, so the same call resumes an interrupted job.

    Args:
        source: a folder (searched recursively), a store, or one image.
        destination: the folder, store or image to write.
        refiner: a refiner file, a run folder, or the name of a pretrained refiner.
        device: ``auto``, ``cpu`` or ``cuda``.
        backend: a name in :data:`refiner.inference.backends.registry.BACKENDS`, or ``auto``: for large jobs on the CPU
            the fastest in a short trial, otherwise ``torch``.
        engine: ``local`` for this machine, or ``ray`` for a Ray cluster.
        workers: number of processes; None uses up to one for each core, depending on the size of the job. With more
            than one, a script needs the usual ``if __name__ == "__main__":`` guard.
        shard: the shard of the job to process. When all shards are done, call once without one to merge the results.
        versions: number of refined versions of each image, by a refiner that draws at random. Version 0 goes to
            ``destination``, and version 2 beside it, see :mod:`refiner.inference.jobs.versions`.
        overwrite: refine everything again, and replace files that exist.
        stop_on_error: raise an error at the first image that cannot be used, instead of rejecting it.
        quality: quality of JPEG and WebP files, 1 to 100.
        limit: largest accepted label drift, and where rejected images go.
        region: the pixels or points whose drift is measured.
        selection: the files of a folder to use.
        report: called with the number of finished images and of all images.

    Returns:
        Numbers of refined, skipped and rejected images of all versions, and reports about what was left out.

    Raises:
        UsageError: ``engine`` or ``shard`` is given for a single image, ``selection`` for anything but a folder, or
            several ``versions`` for a refiner that draws nothing.
        DataError: the source or the refiner is missing or damaged.
        DeviceError: the device or the backend is not available.
        OutputError: the destination cannot be written, or files would be lost.
    """
    _check_source(source, limit, selection)
    outputs = version_outputs(source, destination, limit, versions)
    if versions > 1:
        check_version(versions - 1, load_refiner(refiner).architecture)
    run = partial(
        _refine_version,
        source,
        refiner,
        requested=(backend, device),
        engine=engine,
        workers=workers,
        shard=shard,
        overwrite=overwrite,
        stop_on_error=stop_on_error,
        quality=quality,
        region=region,
        selection=selection,
    )
    return _total(
        [run(output, version, report=share_of(report, version, versions)) for version, output in enumerate(outputs)]
    )


def _total(summaries: Sequence[Summary]) -> Summary:
    """Add up the summaries of all versions; equal reports are kept once."""
    refined, skipped, rejected, copied = (
        sum(getattr(summary, name) for summary in summaries) for name in ("refined", "skipped", "rejected", "copied")
    )
    reports = dict.fromkeys(report for summary in summaries for report in summary.left_out)
    return Summary(refined, skipped, rejected, tuple(reports), copied)


def _refine_version(
    source: Path,
    refiner: Path,
    output: VersionOutput,
    version: int,
    *,
    requested: tuple[str, str],
    engine: str,
    workers: int | None,
    shard: Shard | None,
    overwrite: bool,
    stop_on_error: bool,
    quality: int,
    region: LabelRegion,
    selection: Selection,
    report: Report,
) -> Summary:
    """Run the job of one version; see :func:`refine_path`."""
    (destination, limit), (backend, device) = output, requested
    # Select the device, the backend and the number of workers.
    file, digest = load_refiner(refiner), refiner_digest(refiner)
    if backend != AUTO:
        check_architecture(backend, file.architecture)
    extent = job_extent(source)
    begun = None if overwrite and shard is None else earlier_settings(destination, digest)
    backend, device = _chosen_settings(requested, begun, destination, extent, file)
    executor = Engine(engine, workers or (0 if engine == "ray" else workers_for(extent, file.architecture, device)))
    options: dict[str, Any] = {"overwrite": overwrite, "limit": limit, "region": region}
    # Import the workers' modules in another process, while this one lists the images.
    executor.prepare(
        "refiner.inference.jobs.store_worker" if is_store_name(source) else "refiner.inference.jobs.folder_worker",
        backend_module(backend),
    )
    refiner_source = RefinerSource(refiner, digest, device, backend, executor.threads, version, file)
    # Run the job for this kind of source.
    run: Callable[..., tuple[Any, ...]]
    if is_store_name(source) or (is_store_name(destination) and not source.is_file()):
        _check_both_are_stores(source, destination)
        run = partial(refine_store, source, destination, refiner_source, requested)
    elif source.is_dir():
        run = partial(
            refine_folder,
            source,
            destination,
            refiner_source,
            requested,
            stop_on_error=stop_on_error,
            quality=quality,
            selection=selection,
        )
    elif engine == "ray" or shard is not None:
        raise UsageError(f"--engine ray and --shard need a folder or a store; {source} is neither")
    else:
        return _refine_image(source, destination, refiner_source, quality=quality, **options)
    return Summary(*run(engine=executor, shard=shard, report=report, **options))


def _check_source(source: Path, limit: DriftLimit, selection: Selection) -> None:
    """Refuse a source that cannot be refined, or options that need a folder."""
    if selection and not source.is_dir():
        raise UsageError(f"--include and --exclude select files of a folder, but {source} is none")
    kind = path_kind(source)
    named_well = not source.is_file() or kind == "an image" or is_image_file(source) or is_store_name(source)
    if is_network(kind) or not named_well:
        raise WrongInputError(f"{source} is {kind}; name a folder of images, a store (.h5) or an image to refine")
    if limit.drop_objects and not source.is_dir():
        raise UsageError(f"--drop-objects changes annotation files of a folder, but {source} is none")


def _chosen_settings(
    requested: tuple[str, str], begun: Settings | None, destination: Path, extent: Extent, file: RefinerFile
) -> tuple[str, str]:
    """Return the backend and the device of a job; one that was begun keeps those of its first run."""
    backend, device = requested
    if begun is not None and begun.agrees(backend, device):
        check_usable(begun, destination)
        return begun.backend, begun.device
    device = "cpu" if device == "auto" and backend not in (AUTO, *CUDA_BACKENDS) else resolve_device(device)
    return choose_backend(extent, file, device=device) if backend == AUTO else backend, device


def _refine_image(
    source: Path,
    destination: Path,
    refiner_source: RefinerSource,
    *,
    quality: int,
    overwrite: bool,
    limit: DriftLimit,
    region: LabelRegion,
) -> Summary:
    # Check the paths before the network is loaded.
    if not source.exists():
        raise WrongInputError(f"{source} does not exist; pass a folder, a store or an image")
    region.check(source, ())
    if destination.is_dir():
        destination = destination / source.name
    if destination.exists() and not overwrite:
        raise WrongOutputError(f"{destination} already exists; choose another name, or pass --overwrite to replace it")
    if destination.parent.exists() and not destination.parent.is_dir():
        raise WrongOutputError(
            f"{destination} cannot be created: {destination.parent} is a file; choose another output"
        )
    # Refine the image, and write it if its label drift is within the limit.
    refiner = refiner_source.open()
    image, profile = read_picture(source)
    refined = refiner(image)
    before, after = (to_planes(picture, refiner.channels)[None] for picture in (image, refined))
    (drift,) = measure_label_drift(before, after, [region.watched(source.name, {}, image.shape[:2])])
    if limit.rejects(drift):
        raise ImageError(source, f"{limit.reason(drift)}; {destination.name} is not written")
    quality = LOSSLESS if is_lossless_webp(source) else quality
    write_image(destination, refined, quality=quality, profile=profile)
    return Summary(1, 0, 0)


def _check_both_are_stores(source: Path, destination: Path) -> None:
    """Refuse a folder on one side and a store on the other."""
    if source.is_dir() or not is_store_name(destination):
        raise WrongOutputError(
            f"{source} cannot be refined into {destination}: a folder is refined into a folder, and a store into a "
            "store; convert one of them first: refiner convert IN OUT.h5"
        )
