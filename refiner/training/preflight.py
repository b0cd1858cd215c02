"""Before hours of training: do renders and photographs fit each other?

Compares the two domains on a few hundred images each, by the rules of :mod:`refiner.inspection.fit`, and names the
remedy of what it finds. A discriminator that can tell the domains by brightness, histogram or scale alone teaches
the refiner nothing else.
"""

import numpy as np

from refiner.data.domains import ImageDomain
from refiner.images.io import Image
from refiner.inspection.facts import Appearance, Finding
from refiner.inspection.fit import SAMPLE, AppearanceMeter, compare


def compare_domains(synthetic: ImageDomain, real: ImageDomain, *, batch_size: int) -> list[Finding]:
    """What does not fit, most harmful first; empty when the domains can be trained on as they are."""
    samples = _sample(synthetic), _sample(real)
    findings = compare(_appearance(synthetic, samples[0]), _appearance(real, samples[1]))
    for name, domain, images in zip(("synthetic", "real"), (synthetic, real), samples):
        if len(domain) < batch_size:
            findings.append(
                Finding(
                    f"few {name}",
                    f"there are {len(domain)} {name}, fewer than one batch of {batch_size}",
                    "collect more, or set a smaller batch_size",
                )
            )
        if images.min() == images.max():
            findings.append(Finding(f"flat {name}", f"all {name} are one flat colour", "look at the files"))
    return findings


def compare_with_estimator(synthetic: ImageDomain, *, equalize: bool) -> list[Finding]:
    """Whether the estimator that a refiner is held to has seen such renders.

    Args:
        renders: as training sees them.
        equalize: whether the estimator equalises images first, which training leaves out.
    """
    if not equalize or _appearance(synthetic, _sample(synthetic)).equalized:
        return []
    what = "data.estimator has learnt on equalised images, and the renders are not equalised"
    return [Finding("estimator", what, "refiner convert DIR OUT --equalize, or train one with equalize: false")]


def _sample(domain: ImageDomain) -> Image:
    """Up to 400 images spread over the domain, (N, C, H, W)."""
    count = min(len(domain), SAMPLE)
    return domain.images[np.arange(count) * len(domain) // count]


def _appearance(domain: ImageDomain, images: Image) -> Appearance:
    """How a domain looks, by a sample (N, C, H, W) of its images."""
    meter = AppearanceMeter()
    for planes in images:
        meter.add(planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0)))
    return meter.result(domain.stored_size)
