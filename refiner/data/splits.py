"""Deterministic splits: where a sample goes follows from its id, or its subject, alone.

Samples that are added later move no other, and the same share of another copy of the data is the same samples.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.registry import Dataset

_TOLERANCE = 1e-6


def parse_split(text: str) -> dict[str, float]:
    """Shares by name, from ``train=0.8,test=0.2``.

    Raises:
        ValueError: it is anything else, or the shares do not add up to 1.
    """
    shares: dict[str, float] = {}
    for entry in text.split(","):
        match = re.fullmatch(r"\s*([A-Za-z0-9][\w-]*)\s*=\s*(\d*\.?\d+)\s*", entry)
        if not match or match[1] in shares:
            raise ValueError(f"{text!r} is not a list of names and shares, as in train=0.8,test=0.2")
        shares[match[1]] = float(match[2])
    if abs(sum(shares.values()) - 1) > _TOLERANCE or min(shares.values()) <= 0:
        raise ValueError(f"the shares of {text!r} have to be above 0 and add up to 1")
    return shares


def split_of(key: str, shares: Mapping[str, float]) -> str:
    """The name of the part that a key belongs to: its SHA-256, as a number from 0 to 1, falls into one share."""
    position = int.from_bytes(hashlib.sha256(key.encode(errors="surrogateescape")).digest()[:8], "big") / 2**64
    for name, share in shares.items():
        position -= share
        if position < 0:
            return name
    return name


def split_samples(
    dataset: Dataset, ids: Sequence[str], shares: Mapping[str, float], *, by: str
) -> dict[str, list[str]]:
    """Ids by the name of their part, in their order.

    Args:
        dataset: knows the subjects.
        ids: of the samples to split.
        shares: from :func:`parse_split`.
        by: ``id``, or ``subject``, which keeps everything of one subject together.

    Raises:
        DataError: a sample names no subject, or a part is left empty.
    """
    parts: dict[str, list[str]] = {name: [] for name in shares}
    keys = set()
    for sample in ids:
        try:
            key = dataset.subject(sample) if by == "subject" else sample
        except ImageError:  # it will be rejected, in whichever part
            key = sample
        if key is None:
            raise DataError(f"{dataset.root}: {sample} names no subject; split with --by id, or name the subjects")
        keys.add(key)
        parts[split_of(key, shares)].append(sample)
    empty = [name for name, samples in parts.items() if not samples]
    if empty:
        raise DataError(
            f"{dataset.root}: none of the {len(keys)} {by}s falls into {', '.join(empty)}; choose larger shares for it"
        )
    return parts


def names_subjects(dataset: Dataset, ids: Sequence[str]) -> bool:
    """Whether every sample that can be read names its subject."""
    for sample in ids:
        try:
            if not dataset.subject(sample):
                return False
        except ImageError:
            continue
    return True
