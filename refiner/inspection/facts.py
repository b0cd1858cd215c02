"""A finding: something that looks wrong, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that will hurt whoever goes on without mending it.

    Attributes:
        key: short name of the kind of finding.
        message: what was found, in one sentence, with its figures.
        remedy: what to do about it.
    """

    key: str
    message: str
    remedy: str
