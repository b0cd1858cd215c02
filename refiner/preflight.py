"""Before hours of training: do the renders and the photographs fit each other?

Compares the two domains on a few hundred images each, and names the remedy of what it finds. A discriminator
that can tell the domains by brightness or histogram alone teaches the refiner nothing else.
"""

from typing import Any, NamedTuple

import numpy as np

from refiner.data import ImageDomain
from refiner.images import equalization

EQUALIZED_BELOW = 0.1
"""Median of :func:`refiner.images.equalization` under which a domain counts as equalised."""

HISTOGRAM_GAP = 0.6
"""Share of the grey levels that must move before the difference is no longer the refiner's to learn."""

SIZE_RATIO = 1.5
"""Ratio of stored widths beyond which resizing leaves one domain sharper than the other."""

_SAMPLE = 400


class Finding(NamedTuple):
    """Something about the two domains that will hurt training.

    Attributes:
        key: short name of the kind of finding.
        message: what was found, in one sentence.
        remedy: what to do about it.
    """

    key: str
    message: str
    remedy: str


def compare_domains(renders: ImageDomain, photographs: ImageDomain, *, batch_size: int) -> list[Finding]:
    """What does not fit, most harmful first; empty when the domains can be trained on as they are."""
    findings = []
    synthetic, real = _sample(renders), _sample(photographs)
    flat = [
        float(np.median([equalization(image) for image in images])) < EQUALIZED_BELOW for images in (synthetic, real)
    ]
    if flat[0] != flat[1]:
        equalized, other = ("renders", "photographs") if flat[0] else ("photographs", "renders")
        findings.append(
            Finding(
                "equalised",
                f"the {equalized} are histogram-equalised and the {other} are not, which a discriminator sees at once",
                f"equalise the {other} too: refiner convert DIR OUT --equalize",
            )
        )
    elif (gap := _histogram_gap(synthetic, real)) > HISTOGRAM_GAP:
        bright, dark = float(synthetic.mean()) / 255, float(real.mean()) / 255
        findings.append(
            Finding(
                "histogram",
                f"grey levels differ: their histograms are {gap:.2f} apart of 1 (mean level {bright:.2f} in renders, "
                f"{dark:.2f} in photographs, of 1)",
                "match exposure in the renderer, or equalise both: refiner convert DIR OUT --equalize",
            )
        )
    sizes = [domain.stored_size for domain in (renders, photographs)]
    if sizes[0] and sizes[1] and not 1 / SIZE_RATIO < sizes[0][1] / sizes[1][1] < SIZE_RATIO:
        stored = ["{}x{}".format(*size) for size in sizes if size]
        findings.append(
            Finding(
                "size",
                f"renders are stored at {stored[0]} and photographs at {stored[1]}, so one of them is sharper than the "
                "other once both are resized",
                "render at the photographs' size, or bring both to it: refiner convert DIR OUT --size HxW",
            )
        )
    for name, domain in (("renders", renders), ("photographs", photographs)):
        if len(domain) < batch_size:
            findings.append(
                Finding(
                    f"few {name}",
                    f"there are {len(domain)} {name}, fewer than one batch of {batch_size}",
                    "collect more, or set a smaller batch_size",
                )
            )
        if domain.images.std() == 0:
            findings.append(Finding(f"flat {name}", f"all {name} are one flat colour", "look at the files"))
    return findings


def _sample(domain: ImageDomain) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Up to 400 images spread over the domain, (N, H, W) grey, 8 bits."""
    count = min(len(domain), _SAMPLE)
    chosen = domain.images[np.arange(count) * len(domain) // count]
    levels = chosen >> 8 if chosen.dtype == np.uint16 else chosen
    return np.asarray(levels.mean(axis=1).round().astype(np.uint8))


def _histogram_gap(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Half the summed difference of two 32-bin histograms: 0 the same, 1 disjoint."""
    shares = [np.bincount(images.ravel() >> 3, minlength=32) / images.size for images in (first, second)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)
