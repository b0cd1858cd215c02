"""Steps that the demos share: claim the output folder, write and read images, train, draw the contact sheet."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import WrongOutputError
from refiner.core.files import write_text
from refiner.data.annotations.coco.writer import NEW_FILE
from refiner.data.domains import load_domain
from refiner.data.labels.objects import AnnotationInfo
from refiner.data.labels.records import Record, column_values
from refiner.data.labels.tables import LABELS_FILE, read_labels
from refiner.data.output.records_writer import write_folder
from refiner.images.arrays import contact_sheet, to_uint8
from refiner.images.io import Image, write_image
from refiner.training.train import train

Report = Callable[[str, int, int], None]
"""Progress callback: receives the stage, the number of finished items and the number of all items."""


def claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Make ``out`` the folder of a demo, or accept it if it belongs to a demo with the same settings.

    Raises:
        OutputError: the folder holds something else, or a demo with other settings.
    """
    file, text = out / "demo.json", json.dumps(settings)
    if file.exists():
        if file.read_text(encoding="utf-8") != text:
            raise WrongOutputError(f"{out} holds a demo with other settings; choose another folder")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WrongOutputError(f"{out} already exists and holds no demo; choose another folder")
    else:
        write_text(file, text)


def write_records(
    folder: Path,
    records: Iterator[Record],
    count: int,
    stage: str,
    report: Report,
    *,
    info: AnnotationInfo | None = None,
) -> None:
    """Write images and labels, unless the folder is complete.

    Args:
        folder: the folder.
        records: the records.
        count: number of records.
        stage: name of the stage for the report.
        report: progress callback.
        info: facts about annotated objects; None if the records have other labels.
    """
    # The labels are written last: a folder with labels is complete.
    if (folder / (LABELS_FILE if info is None else NEW_FILE)).exists():
        return
    write_folder(
        folder,
        records,
        count,
        labelled=True,
        info=info,
        overwrite=True,  # an interrupted demo left images without labels
        report=lambda done, total: report(stage, done, total),
    )


def train_refiner(out: Path, recipe: Mapping[str, Any], *, steps: int, seed: int, device: str, report: Report) -> None:
    """Train a refiner on the folders ``synthetic`` and ``real`` of a demo, or resume its training.

    Args:
        out: folder of the demo; the run goes into its folder ``run``.
        recipe: training settings of the demo.
        steps: number of training steps.
        seed: seed of the training.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: progress callback.
    """
    # The preflight checks would report the gap between the domains, which the demo makes on purpose.
    data = {"synthetic": out / "synthetic", "real": out / "real", "preflight": "skip"}
    configuration = TrainingConfiguration.model_validate({**recipe, "seed": seed, "steps": steps, "data": data})
    train(configuration, out / "run", device=device, report=lambda done, total, _: report("training", done, total))


def read_images(folder: Path, size: tuple[int, int], channels: int = 1) -> Tensor:
    """Return all images of a folder, (N, C, H, W), in [-1, 1]; ``channels`` is 1 or 3."""
    domain = load_domain(folder, key=folder.name, size=size, channels=channels)
    return domain.batch(torch.arange(len(domain)).numpy())


def read_column(folder: Path, label: str) -> Any:
    """Return one label of all images of a folder, as an array of float64."""
    values = column_values(read_labels(folder / LABELS_FILE).values(), label)
    assert values is not None, f"rendered images have {label}"
    return values


def write_sheet(
    out: Path, size: tuple[int, int], *, columns: int = 10, pairs: int = 3, views: int = 1, channels: int = 1
) -> Path:
    """Write ``before_after.png``: rows of renders, each above the same renders refined, then two rows of real images.

    Args:
        out: folder of the demo.
        size: (height, width) of the images.
        columns: images in a row.
        pairs: rows of renders.
        views: consecutive images of one person, of which the sheet shows the first.
        channels: 1 for grey images, 3 for colour.
    """
    synthetic, refined, real = (read_images(out / name, size, channels) for name in ("synthetic", "refined", "real"))
    rows: list[list[Image]] = []
    for pair in range(pairs):
        chosen = slice(pair * columns * views, (pair + 1) * columns * views, views)
        rows += [[to_uint8(image) for image in images[chosen].numpy()] for images in (synthetic, refined)]
    for row in range(2):
        chosen = slice(row * columns * views, (row + 1) * columns * views, views)
        rows.append([to_uint8(image) for image in real[chosen].numpy()])
    path = out / "before_after.png"
    write_image(path, contact_sheet(rows, scale=2))
    return path


def write_outcome(out: Path, outcome: Any, *, seed: int, scale: Any) -> None:
    """Write ``outcome.json``: the metrics of a demo, with its seed and scale."""
    write_text(out / "outcome.json", json.dumps(asdict(outcome) | {"seed": seed, "scale": asdict(scale)}, indent=2))
