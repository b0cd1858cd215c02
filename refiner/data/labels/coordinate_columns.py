"""Coordinates in columns of single numbers: ``nose_x`` with ``nose_y``, ``xmin`` to ``ymax``, ``bbox_w``, ``radius``.

The names show the parts: an axis needs its partner, and sizes belong to the corner whose name they share. What stays
ambiguous is refused; see :mod:`refiner.data.labels.coordinates`.
"""

import functools
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from refiner.core.errors import UsageError
from refiner.data.labels.coordinates import (
    AXIS,
    RELATIVE,
    UNITS,
    VECTORS,
    Change,
    Declared,
    ambiguity,
    look_relative,
    split_words,
    stems,
)
from refiner.data.labels.records import Labels

_QUALIFIERS = {"min", "max", "0", "1", "2", "left", "right", "top", "bottom", "tl", "br", "center", "centre", "c"}

_EDGES = {"left": ("x", "1"), "top": ("y", "1"), "right": ("x", "2"), "bottom": ("y", "2")}

_SIZES = {"w": 0, "width": 0, "h": 1, "height": 1}

_NEVER = ("subject", "mirrored")

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SEVERAL = re.compile(rf"[({{<]?\s*{_NUMBER}(?:[\s,;]+{_NUMBER})+\s*[)}}>]?")


class _Roles(NamedTuple):
    """Parts that the columns of some names play.

    Attributes:
        axes: columns by axis, for each group of coordinates that belong together.
        sizes: pairs of columns (width, height) by base name; either may be None.
        lengths: columns of a radius or another length, with their base name; None if the name says pixels.
    """

    axes: Mapping[tuple[str, ...], Mapping[str, str]]
    sizes: Mapping[tuple[str, ...], list[str | None]]
    lengths: Mapping[str, tuple[str, ...] | None]


def move_columns(labels: Labels, change: Change, declared: Declared) -> Labels:
    """Return the labels in single columns that move with the image, with their new values.

    Args:
        labels: all labels of one image; numbers may be texts.
        change: the crop and the resize of the image.
        declared: what the user says about labels.

    Returns:
        The changed labels by name; texts stay texts.

    Raises:
        UsageError: a label is ambiguous.
        ValueError: one of two coordinates is missing in this image.
    """
    numbers = {
        name: number
        for name, value in labels.items()
        if name not in _NEVER and not _has_unit(name) and (number := _number(name, value, declared)) is not None
    }
    roles = _roles(tuple(numbers))
    moved: dict[str, float] = {}
    # Points move as pairs. Remember their base names, since sizes and lengths may belong to them.
    bases: dict[tuple[str, ...], int] = {}
    for key, columns in roles.axes.items():
        if _are_named(columns.values(), declared.keep) or not _moves(key, columns, numbers, change, declared):
            continue
        x, y = change.move(np.array([numbers[columns["x"]], numbers[columns["y"]]])).tolist()
        moved |= {columns["x"]: x, columns["y"]: y}
        bases[_base(key)] = bases.get(_base(key), 0) + 1
    moved |= _sizes(roles, bases, numbers, change, declared)
    moved |= _lengths(roles, bases, numbers, change, declared)
    return {name: _like(labels[name], value) for name, value in moved.items()}


@functools.lru_cache(maxsize=256)
def whole_points(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that hold both coordinates of a point in the plane, and those of the sizes of a box at it."""
    roles = _roles(tuple(name for name in names if not _has_unit(name)))
    groups = {key: columns for key, columns in roles.axes.items() if columns.keys() == {"x", "y"}}
    bases = {_base(key) for key in groups}
    sizes = [column for base, columns in roles.sizes.items() if base in bases for column in columns if column]
    return (*(column for columns in groups.values() for column in columns.values()), *sizes)


def _has_unit(name: str) -> bool:
    words = split_words(name)
    return words[-1] in UNITS or bool(VECTORS & set(words))


def _are_named(columns: Iterable[str | None], names: Collection[str]) -> bool:
    """Return whether one of the columns is declared, by its own name or by that of its group."""
    return bool(names) and any(name in names for column in columns if column for name in (column, *stems(column)))


def _number(name: str, value: Any, declared: Declared) -> float | None:
    """Return the number of a label, or None if it has none.

    Raises:
        UsageError: the label is a text of several numbers, or is declared as points or boxes and cannot be any.
    """
    if isinstance(value, np.ndarray) or _are_named([name], declared.keep):
        return None if isinstance(value, np.ndarray) else _to_number(value)
    number, text = _to_number(value), str(value).strip()
    if name in declared.moving and not (number is not None and stems(name)):
        raise UsageError(f"label {name} is {text[:40]!r}; write points as [x, y] and boxes as four numbers in []")
    if number is not None:
        return number
    if _SEVERAL.fullmatch(text) or text.startswith(("{", "[")):
        raise UsageError(
            f"label {name} is the text {text[:40]!r}, which may hold positions, and the images change their size; "
            f"write points as [x, y] and boxes as four numbers in [], or pass --keep {name} if it is no position"
        )
    return None


def _to_number(value: Any) -> float | None:
    if isinstance(value, int | float | np.number):
        return float(value)
    return float(value) if isinstance(value, str) and re.fullmatch(rf"\s*{_NUMBER}\s*", value) else None


@functools.lru_cache(maxsize=64)
def _roles(names: tuple[str, ...]) -> _Roles:
    axes: dict[tuple[str, ...], dict[str, str]] = {}
    sizes: dict[tuple[str, ...], list[str | None]] = {}
    lengths: dict[str, tuple[str, ...] | None] = {}
    edges: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        words = split_words(name)
        at = max((i for i, word in enumerate(words) if AXIS.fullmatch(word)), default=None)
        # The key of a group is its words with the axis blotted out: nose_x and nose_y are nose_*.
        if at is not None:
            before, axis, after = AXIS.fullmatch(words[at]).groups()  # type: ignore[union-attr]
            key = (*words[:at], f"{before}*{after}", *words[at + 1 :])
            axes.setdefault(key, {})[axis] = name
        elif words[-1] in _EDGES:
            edges.setdefault(words[:-1], {})[words[-1]] = name
        elif words[-1] in _SIZES:
            base = _base(words[:-1])
            sizes.setdefault(base, [None, None])[_SIZES[words[-1]]] = name
        elif words[-1] in ("px", "pixel", "pixels"):
            lengths[name] = None
        elif words[-1] in ("r", "radius", "diameter"):
            lengths[name] = _base(words[:-1])
    # Edges are coordinates only if all four are there; a column left may be anything.
    for key, columns in edges.items():
        if len(columns) == len(_EDGES):
            for edge, name in columns.items():
                axis, number = _EDGES[edge]
                axes.setdefault((*key, f"*{number}"), {})[axis] = name
    return _Roles(axes, sizes, lengths)


def _base(key: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in key if "*" not in word and word not in _QUALIFIERS)


def _moves(
    key: tuple[str, ...],
    columns: Mapping[str, str],
    numbers: Mapping[str, float],
    change: Change,
    declared: Declared,
) -> bool:
    """Return whether a group of coordinates is a point in pixels.

    Raises:
        UsageError: that is not certain.
        ValueError: one of two coordinates is missing in this image.
    """
    names = ", ".join(columns.values())
    short = next((stem for column in columns.values() for stem in stems(column)), next(iter(columns.values())))
    certain = _are_named(columns.values(), declared.moving)
    if not {"x", "y"} <= columns.keys():
        # A lone x1 may be any number; a lone nose_x is a position with a missing part.
        if certain or (key[-1] == "*" and "z" not in columns):
            raise ValueError(f"its label {names} has only one coordinate; give x and y, or pass --keep {short}")
        return False
    if certain:
        return True
    if "z" in columns and key[0] in ("gaze", "head", "look", "light", "camera"):
        return False
    values = np.array([numbers[columns["x"]], numbers[columns["y"]]])
    relative = bool(RELATIVE & set(key))
    if relative and not change.crops:
        return False
    if relative or "z" in columns or key[0] in ("gaze", "head") or look_relative(values):
        raise UsageError(ambiguity(short, f"in the columns {names}"))
    return True


def _sizes(
    roles: _Roles,
    bases: Mapping[tuple[str, ...], int],
    numbers: Mapping[str, float],
    change: Change,
    declared: Declared,
) -> dict[str, float]:
    """Return new widths and heights: of boxes, whose corner has the same base name, or of the image itself.

    Raises:
        UsageError: they may be neither.
    """
    moved: dict[str, float] = {}
    for base, columns in roles.sizes.items():
        if _are_named(columns, declared.keep):
            continue
        known = [None if column is None else numbers[column] for column in columns]
        if bases.get(base) == 1:
            new = [None if value is None else value * factor for value, factor in zip(known, change.scale, strict=True)]
        elif known == [change.size[1], change.size[0]]:
            new = [float(change.result[1]), float(change.result[0])]
        elif None in known:
            name = str(columns[0] or columns[1])
            if base or split_words(name)[-1] in ("width", "height"):  # a bare h may be an hour
                raise UsageError(_lone_length(name))
        else:
            raise UsageError(ambiguity(str(columns[0]), f"a width beside a height ({columns[0]}, {columns[1]})"))
        moved |= {column: value for column, value in zip(columns, new, strict=True) if column and value is not None}
    return moved


def _lone_length(name: str) -> str:
    return (
        f"label {name} may be a length in pixels, and the images change their size; let its name end with _px if it is "
        f"one, or pass --keep {name}"
    )


def _lengths(
    roles: _Roles,
    bases: Mapping[tuple[str, ...], int],
    numbers: Mapping[str, float],
    change: Change,
    declared: Declared,
) -> dict[str, float]:
    """Return new lengths in pixels.

    Raises:
        UsageError: x and y scale differently, so that the new length is not known, or it may be no length in pixels.
    """
    lengths = set()
    for column, base in roles.lengths.items():
        if _are_named([column], declared.keep):
            continue
        if base is None or base in bases:
            lengths.add(column)
        elif split_words(column)[-1] != "r":  # a bare r may be red
            raise UsageError(_lone_length(column))
    across, down = change.scale.tolist()
    if lengths and not math.isclose(across, down, rel_tol=1e-6):
        name = min(lengths)
        raise UsageError(
            f"label {name} is a length in pixels, and the images are stretched; crop them to the shape of --size "
            f"first, or pass --keep {name}"
        )
    return {column: numbers[column] * across for column in lengths}


def _like(value: Any, number: float) -> Any:
    """Return a number as text if the old value was text."""
    return f"{number:.9g}" if isinstance(value, str) else number
