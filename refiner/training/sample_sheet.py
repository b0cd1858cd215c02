"""Sample sheets of a run: renders, the same refined, and real images."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from refiner.data.domains import ImageDomain
from refiner.images.arrays import contact_sheet, to_uint8
from refiner.images.io import write_image

SHEET_COLUMNS = 12
"""Number of images in each row of a sample sheet."""


def write_sample_sheet(
    folder: Path, step: int, domains: Mapping[str, ImageDomain], refine: Callable[[Tensor], Tensor]
) -> None:
    """Write the sheet of a step; it shows the same images at every step.

    Args:
        folder: folder of the sheets.
        step: number of the step, the name of the file.
        domains: ``synthetic`` and ``real``.
        refine: maps (N, C, H, W) in [-1, 1] to the same, on the CPU.
    """
    synthetic, real = (
        domain.batch(range(min(SHEET_COLUMNS, len(domain)))) for domain in (domains["synthetic"], domains["real"])
    )
    # One row each of renders, refined images and real images.
    rows = [[to_uint8(image) for image in images.numpy()] for images in (synthetic, refine(synthetic), real)]
    scale = max(1, math.ceil(72 / synthetic.shape[2]))
    write_image(folder / f"step-{step:08d}.png", contact_sheet(rows, scale=scale))
