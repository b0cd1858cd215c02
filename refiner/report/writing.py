"""Evaluate a run, or a refiner with its data sets, and write the pages of a report."""

import json
from collections.abc import Callable
from pathlib import Path

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.errors import WrongInputError, WrongOutputError
from refiner.core.files import read_json_lines
from refiner.evaluation.evaluate import Evaluation, Settings, evaluate
from refiner.evaluation.samples import open_with_masks
from refiner.inference.refiner import Refiner
from refiner.models.files.lookup import find_refiner
from refiner.models.files.refiner_file import kept_step, load_refiner
from refiner.report.objects import ObjectPictures, ObjectSections
from refiner.report.overlays import OverlaySource
from refiner.report.page import Origin, write_report, write_turing_test
from refiner.report.pictures import open_pictures, refined_again
from refiner.runs.folder import CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE

REPORT_FILE, TURING_FILE = "report.html", "turing.html"


def report_on(
    run: Path,
    *,
    out: Path | None,
    synthetic: Path | None,
    real: Path | None,
    settings: Settings,
    trials: int,
    report: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[Path]:
    """Evaluate a refiner and write both pages.

    Args:
        run: a run folder, a refiner file, or the name of a pretrained refiner.
        out: folder of the pages; None takes the run folder, or the working directory if ``run`` is no folder.
        synthetic, real: data sets; None takes those of the run.
        settings, report: see :func:`refiner.evaluation.evaluate.evaluate`.
        trials: number of guesses of the Turing test.

    Returns:
        The files of both pages.

    Raises:
        DataError: a data set is not given and there is no run to take it from, or a data set cannot be used.
        OutputError: a page cannot be written.
    """
    # Refuse anything but a refiner, and a place where no page can be written, before the evaluation.
    load_refiner(run)
    folder = out or (run if run.is_dir() else Path())
    if folder.is_file():
        raise WrongOutputError(f"{folder} is a file; name a folder for the pages with --out")
    configured = run / CONFIG_FILE
    if configured.is_file():
        data = read_configuration(configured, TrainingConfiguration).data
        synthetic, real = synthetic or data.synthetic, real or data.real
    if synthetic is None or real is None:
        raise WrongInputError(f"{run} does not record its data sets; give them with --synthetic and --real")
    found = evaluate(synthetic, run, real, settings, report=report)
    return write_pages(folder, found, run, synthetic, real, settings=settings, trials=trials)


def write_pages(
    folder: Path, found: Evaluation, run: Path, synthetic: Path, real: Path, *, settings: Settings, trials: int
) -> list[Path]:
    """Write both pages on an evaluation.

    Args:
        folder: folder of the pages.
        found: the evaluation.
        run: the refiner that made the refined images: a run folder, a refiner file, or the name of a pretrained one.
        synthetic, real: the data sets of the evaluation.
        settings: the settings of the evaluation.
        trials: number of guesses of the Turing test.

    Returns:
        The files of both pages.

    Raises:
        DataError: an image or a file of the run can no longer be read.
        OutputError: a page cannot be written.
    """
    # Collect the facts that the run knows.
    metadata = load_refiner(run).metadata
    facts = {"configuration": (run / CONFIG_FILE).read_text(encoding="utf-8")} if (run / CONFIG_FILE).is_file() else {}
    facts["refiner file"] = json.dumps({"path": str(find_refiner(run)), **metadata}, indent=1)
    if (run / ENVIRONMENT_FILE).is_file():
        facts["environment of the training"] = (run / ENVIRONMENT_FILE).read_text(encoding="utf-8")
    metrics = list(read_json_lines(run / METRICS_FILE)) if run.is_dir() else []
    origin = Origin(
        f"Report on {run.name}",
        str(synthetic),
        str(real),
        settings.seed,
        metrics,
        facts,
        kept_step(metadata["training"]),
    )

    # Draw the pictures, and write the pages.
    pictures = open_pictures(found, synthetic, run, real, device=settings.device)
    overlays, objects = open_labels(found, synthetic, run, real, settings=settings)
    write_report(folder / REPORT_FILE, found, origin, pictures, overlays=overlays, objects=objects)
    write_turing_test(folder / TURING_FILE, found, pictures, trials=trials, seed=settings.seed)
    return [folder / REPORT_FILE, folder / TURING_FILE]


def open_labels(
    found: Evaluation, synthetic: Path, refiner: Path, real: Path, *, settings: Settings
) -> tuple[OverlaySource, ObjectSections | None]:
    """Return the labels of the renders as overlays, and the parts of a page on their objects; None without objects.

    Raises:
        RefinerError: an image or the refiner can no longer be read.
    """
    size = (found.synthetic.shape[2], found.synthetic.shape[3])
    renders, photographs = (
        open_with_masks(path, size=size, selection=settings.selection, masks=settings.masks)
        for path in (synthetic, real)
    )
    drifts = {name: drift.objects for name, drift in found.drifts.items()}
    overlays = OverlaySource(renders, [drift.category for some in drifts.values() for drift in some])
    if not any(drifts.values()):
        return overlays, None
    opened = refined_again(found, Refiner.load(refiner, device=settings.device))
    pictures = ObjectPictures(renders, overlays.shapes_of.style, opened, photographs, found.real_ids, measured=size)
    return overlays, pictures.sections(drifts, settings.seed)
