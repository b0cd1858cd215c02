"""Shards: fixed shares of a job for independent machines that do not communicate."""

import re
import zlib
from typing import NamedTuple, Self


class Shard(NamedTuple):
    """One of several shards of a job.

    Attributes:
        number: number of this shard, counted from 1.
        total: number of all shards.
    """

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse text such as ``2/8``.

        Raises:
            ValueError: the text does not have the form NUMBER/COUNT with NUMBER at most COUNT.
        """
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if not match or int(match[1]) > int(match[2]):
            raise ValueError(f"{text!r} is not NUMBER/COUNT, as in 2/8 for the second of eight")
        return cls(int(match[1]), int(match[2]))

    def takes_name(self, name: str) -> bool:
        """Check whether this shard processes a file. Only the file's name decides, so that new files change nothing."""
        return zlib.crc32(name.encode(errors="surrogateescape")) % self.total == self.number - 1

    def takes_chunk(self, number: int) -> bool:
        """Check whether this shard processes a chunk of a store."""
        return number % self.total == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}-of-{self.total}"
