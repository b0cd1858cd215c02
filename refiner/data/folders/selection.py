"""Selection of the files of a folder by patterns, as with ``--include`` and ``--exclude``."""

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Selection:
    """Patterns that select files of a folder by their relative paths.

    In a pattern, ``*`` stands for any characters but a slash, ``?`` for one, ``[ab]`` for one of several, and ``**``
    for any characters. A pattern without a slash names files or folders at any depth. One with a slash is a path below
    the folder. A pattern that names a folder selects everything in it. Letters match in the case they are written in.

    Attributes:
        include: if there are any, only files that match one of these are used.
        exclude: files that match one of these are not used.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def includes(self, name: str) -> bool:
        """Return whether a path matches a pattern of ``include``, or there is none."""
        return not self.include or any(pattern.fullmatch(name) for pattern in self._patterns[0])

    def excludes(self, name: str) -> bool:
        """Return whether a path matches a pattern of ``exclude``."""
        return any(pattern.fullmatch(name) for pattern in self._patterns[1])

    def takes(self, name: str) -> bool:
        """Return whether a path is selected."""
        return self.includes(name) and not self.excludes(name)

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def unused(self, names: list[str]) -> list[str]:
        """Return the patterns that match none of some paths; they are probably misspelt."""
        pairs = zip((*self.include, *self.exclude), (*self._patterns[0], *self._patterns[1]), strict=True)
        return [text for text, pattern in pairs if not any(pattern.fullmatch(name) for name in names)]

    @cached_property
    def _patterns(self) -> tuple[list[re.Pattern[str]], list[re.Pattern[str]]]:
        return [_compile(text) for text in self.include], [_compile(text) for text in self.exclude]


EVERYTHING = Selection()
"""The selection of all files."""

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


def _compile(text: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern, for a whole relative path."""
    pattern = text.removeprefix("./").rstrip("/")
    anywhere = "" if "/" in pattern else "(?:.*/)?"
    pieces = [_piece(piece) for piece in _PIECE.findall(pattern.lstrip("/"))]
    return re.compile(f"{anywhere}{''.join(pieces)}(?:/.*)?", re.DOTALL)


def _piece(piece: str) -> str:
    """Return the regular expression of one piece of a pattern."""
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if piece in fixed:
        return fixed[piece]
    if len(piece) > 2:  # characters in brackets
        inner = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"[^/{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.escape(piece)
