"""Pairs of a render and a real image of the same scene, which have the same name."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from refiner.core.errors import WrongInputError
from refiner.data.domains import ImageDomain


def paired_domains(synthetic: ImageDomain, real: ImageDomain) -> tuple[ImageDomain, ImageDomain]:
    """Keep the images of two domains that have a partner in the other one.

    Images are partners if their paths in their data sets are equal; the suffixes may differ.

    Returns:
        Both domains in one order, that of the renders. The renders know their partners. Images without a partner are
        among the rejected.

    Raises:
        DataError: no image has a partner, or an image has several.
    """
    names = _by_name(synthetic, "renders"), _by_name(real, "real images")
    common = {name: number for name, number in names[0].items() if name in names[1]}
    if not common:
        raise WrongInputError(
            "no render has a real image of the same name, but the method trains on pairs; name both images of a scene "
            f"alike, such as {next(iter(names[0]))} (any suffix)"
        )
    kept = []
    for domain, numbers in zip((synthetic, real), names, strict=True):
        alone = {domain.ids[number]: _ALONE for name, number in numbers.items() if name not in common}
        kept.append(domain.take([numbers[name] for name in common], alone))
    return replace(kept[0], partners=kept[1]), kept[1]


_ALONE = "has no image of its name in the other domain"


def _by_name(domain: ImageDomain, words: str) -> dict[str, int]:
    """Return the number of each image by its path without suffix.

    Raises:
        DataError: two images differ only in their suffixes.
    """
    numbers: dict[str, int] = {}
    for number, name in enumerate(_names(domain.ids)):
        if name in numbers:
            first, second = domain.ids[numbers[name]], domain.ids[number]
            raise WrongInputError(f"the {words} {first} and {second} have one name, so pairs are unclear; rename one")
        numbers[name] = number
    return numbers


def _names(ids: Sequence[str]) -> Iterator[str]:
    return (str(PurePosixPath(name).with_suffix("")) for name in ids)
