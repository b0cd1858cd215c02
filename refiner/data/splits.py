"""Deterministic splits of a data set: the split of a sample depends only on its id or its subject.

New samples do not move existing ones to another split, and every copy of the data is split in the same way.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence

from refiner.core.errors import ImageError, WrongInputError
from refiner.data.formats.registry import Dataset

log = logging.getLogger(__name__)

_TOLERANCE = 1e-6


def parse_split(text: str) -> dict[str, float]:
    """Return shares by name from a text such as ``train=0.8,test=0.2``.

    Raises:
        ValueError: the text is malformed, or the shares do not add up to 1.
    """
    shares: dict[str, float] = {}
    # Read each name and its share.
    for entry in text.split(","):
        match = re.fullmatch(r"\s*([A-Za-z0-9][\w-]*)\s*=\s*(\d*\.?\d+)\s*", entry)
        if not match or match[1] in shares:
            raise ValueError(f"{text!r} is not a list of names and shares, as in train=0.8,test=0.2")
        shares[match[1]] = float(match[2])
    # Check the sum with a tolerance, since 0.7 + 0.2 + 0.1 is not exactly 1.
    if abs(sum(shares.values()) - 1) > _TOLERANCE or min(shares.values()) <= 0:
        raise ValueError(f"the shares of {text!r} must be above 0 and add up to 1")
    return shares


def split_of(key: str, shares: Mapping[str, float]) -> str:
    """Return the name of the split of a key: the share that its SHA-256, as a number from 0 to 1, falls into.

    Args:
        key: id or subject.
        shares: shares by name, from :func:`parse_split`.
    """
    position = _position(key)
    # Walk along the shares until they cover the position.
    for name, share in shares.items():
        position -= share
        if position < 0:
            return name
    return name


def _position(key: str) -> float:
    """Return the SHA-256 of a key as a number from 0 to 1."""
    return int.from_bytes(hashlib.sha256(key.encode(errors="surrogateescape")).digest()[:8], "big") / 2**64


def held_out_keys(keys: Iterable[str], share: float) -> set[str]:
    """Choose the keys that are held out: those whose position is below the share, but at least one, and never all.

    Args:
        keys: subjects or ids; at least two different ones.
        share: share of the keys to hold out.
    """
    ordered = sorted(set(keys), key=_position)
    chosen = [key for key in ordered if split_of(key, {"held_out": share, "train": 1 - share}) == "held_out"]
    # With few keys none or all of them may fall below the share; the nearest one decides.
    return set(chosen[: len(ordered) - 1] or ordered[:1])


def split_samples(
    dataset: Dataset, ids: Sequence[str], shares: Mapping[str, float], *, by: str
) -> dict[str, list[str]]:
    """Split samples.

    Args:
        dataset: the data set, which knows the subjects.
        ids: ids of the samples.
        shares: shares by name, from :func:`parse_split`.
        by: ``id``, or ``subject``, which keeps all samples of a subject together.

    Returns:
        Ids by the name of their split, in the order of ``ids``.

    Raises:
        DataError: a sample has no subject, or a split is empty.
    """
    splits: dict[str, list[str]] = {name: [] for name in shares}
    keys = set()
    # Put each sample where the hash of its key falls.
    for sample in ids:
        try:
            key = dataset.subject(sample) if by == "subject" else sample
        except ImageError:  # the sample is rejected later, whatever its split
            key = sample
        if key is None:
            raise WrongInputError(
                f"{sample} in {dataset.root} names no subject; split with --by id, or add the subjects"
            )
        keys.add(key)
        splits[split_of(key, shares)].append(sample)
    # With few subjects a small share may get none of them.
    empty = [name for name, samples in splits.items() if not samples]
    if empty:
        raise WrongInputError(
            f"none of the {len(keys)} {by}s of {dataset.root} falls into {', '.join(empty)}; choose larger shares"
        )
    return splits


def names_subjects(dataset: Dataset, ids: Sequence[str]) -> bool:
    """Return whether every sample names its subject; samples that cannot be read are ignored.

    A warning is logged if only some of them do, because a split by id then puts images of one person on both sides.
    """
    named = unnamed = 0
    for sample in ids:
        try:
            if dataset.subject(sample):
                named += 1
            else:
                unnamed += 1
        except ImageError:
            continue
    if named and unnamed:
        log.warning(
            "%s: %d of %d images name no subject, so that images of one subject may fall into several splits; add the "
            "subjects to split by them",
            dataset.root,
            unnamed,
            named + unnamed,
        )
    return not unnamed
