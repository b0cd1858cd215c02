"""Pre-flight: a comparison of the two domains before hours of training.

It looks at a few hundred images of each domain, by the rules of :mod:`refiner.inspection.fit`, and names the remedy of
each finding. If brightness, histogram or scale alone separate the domains, the discriminator teaches nothing else.
"""

import numpy as np

from refiner.data.domains import ImageDomain
from refiner.images.io import Image
from refiner.inspection.facts import Appearance, Finding
from refiner.inspection.fit import SAMPLE, AppearanceMeter, compare

_WORDS = {"synthetic": "renders", "real": "real images"}


def compare_domains(synthetic: ImageDomain, real: ImageDomain, *, batch_size: int) -> list[Finding]:
    """Return the differences that will hurt training, most harmful first."""
    samples = _sample(synthetic), _sample(real)
    findings = compare(_appearance(synthetic, samples[0]), _appearance(real, samples[1]))
    for (name, words), domain, images in zip(_WORDS.items(), (synthetic, real), samples):
        # A sampler repeats images within a batch of a domain that is too small.
        if len(domain) < batch_size:
            findings.append(
                Finding(
                    f"few {name}",
                    f"there are {len(domain)} {words}, fewer than one batch of {batch_size}",
                    "collect more, or set a smaller batch_size",
                )
            )
        # A flat domain teaches nothing.
        if images.min() == images.max():
            findings.append(Finding(f"flat {name}", f"all {words} are one flat colour", "look at the files"))
    return findings


def compare_with_estimator(synthetic: ImageDomain, *, equalize: bool) -> list[Finding]:
    """Return a finding if the estimator was trained on equalised images and the renders are not equalised.

    Args:
        synthetic: the renders, as training sees them.
        equalize: whether the estimator equalises images first. Training skips that step, which has no gradient.
    """
    if not equalize or _appearance(synthetic, _sample(synthetic)).equalized:
        return []
    message = "data.estimator was trained on equalised images, but the renders are not equalised"
    return [Finding("estimator", message, "refiner convert DIR OUT --equalize, or train one with equalize: false")]


def _sample(domain: ImageDomain) -> Image:
    """Return up to 400 images spread over the domain, (N, C, H, W)."""
    count = min(len(domain), SAMPLE)
    return domain.images[np.arange(count) * len(domain) // count]


def _appearance(domain: ImageDomain, images: Image) -> Appearance:
    """Measure the appearance of a domain by a sample (N, C, H, W) of its images."""
    meter = AppearanceMeter()
    for planes in images:
        meter.add(planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0)))
    return meter.result(domain.stored_size)
