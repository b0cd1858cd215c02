"""Patterns select files by name, by folder, and by path."""

import pytest

from refiner.data.folders.selection import Selection

NAMES = ["a.png", "b_bad.png", "left/a.png", "left/deep/c.PNG", "right/b_bad.png", "x[1].png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*_bad.png", ["b_bad.png", "right/b_bad.png"]),
        ("left", ["left/a.png", "left/deep/c.PNG"]),
        ("left/", ["left/a.png", "left/deep/c.PNG"]),
        ("left/*.png", ["left/a.png"]),
        ("left/**", ["left/a.png", "left/deep/c.PNG"]),
        ("**/c.PNG", ["left/deep/c.PNG"]),
        ("./a.png", ["a.png", "left/a.png"]),
        ("/a.png", ["a.png"]),
        ("?.png", ["a.png", "left/a.png"]),
        ("[!a].*", ["left/deep/c.PNG"]),
        ("x[[]1].png", ["x[1].png"]),
        ("nothing", []),
    ],
)
def test_a_pattern_selects(pattern: str, expected: list[str]) -> None:
    assert [name for name in NAMES if Selection((pattern,)).takes(name)] == expected
    assert [name for name in NAMES if not Selection(exclude=(pattern,)).takes(name)] == expected
    assert Selection((pattern,)).unused(NAMES) == ([] if expected else [pattern])


def test_both_kinds_of_patterns_work_together() -> None:
    selection = Selection(("*.png",), ("*_bad.png", "left"))
    assert [name for name in NAMES if selection.takes(name)] == ["a.png", "x[1].png"]
    assert not Selection()
