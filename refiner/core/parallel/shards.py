"""One of several runs that share a job between them, on machines that know nothing of each other."""

import re
import zlib
from typing import NamedTuple, Self


class Shard(NamedTuple):
    """Which run of how many.

    Attributes:
        number: from 1.
        total: of all runs.
    """

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``2/8``.

        Raises:
            ValueError: it is none.
        """
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if not match or int(match[1]) > int(match[2]):
            raise ValueError(f"{text!r} is not NUMBER/COUNT, as in 2/8 for the second of eight")
        return cls(int(match[1]), int(match[2]))

    def takes_name(self, name: str) -> bool:
        """Whether a file is this run's: by its name alone, so that new files beside it change nothing."""
        return zlib.crc32(name.encode(errors="surrogateescape")) % self.total == self.number - 1

    def takes_part(self, number: int) -> bool:
        """Whether a part of a store is this run's."""
        return number % self.total == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}-of-{self.total}"
