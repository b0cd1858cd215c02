"""Rows are matched with images however a table writes their names, and with none where it is not certain."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from refiner.data.labels.row_names import match_rows

NAMES = [f"ä b/p0{p}/00{n}.png" for p in range(2) for n in range(3)]


@pytest.mark.parametrize(
    "write",
    [
        lambda name: name.replace("/", "\\"),
        lambda name: f"./{name}",
        lambda name: f" {name} ",
        lambda name: f"/data/of/people/{name}",
        lambda name: f"/somewhere/else/{name}",
        lambda name: "C:\\images\\" + name.replace("/", "\\"),
        lambda name: unicodedata.normalize("NFD", name),
        lambda name: name.encode("latin-1").decode("utf-8", "surrogateescape"),
        lambda name: name.replace(".png", ".PNG"),
        lambda name: name.replace(".png", ".jpg"),
        lambda name: name.removesuffix(".png"),
        lambda name: name.partition("/")[2],
        lambda name: name.partition("/")[2].removesuffix(".png").replace("/", "\\"),
    ],
)
def test_every_row_finds_its_image(write: Callable[[str], str]) -> None:
    rows = {write(name): name for name in NAMES}
    assert match_rows(rows.keys(), frozenset(NAMES), Path("/data/of/people")) == {
        name: row for row, name in rows.items()
    }


@pytest.mark.parametrize(
    ("rows", "names", "expected"),
    [
        (["001.png"], ["a/001.png", "b/001.png"], {}),  # two images of this name
        (["x/001.png", "y/001.png"], ["001.png"], {}),  # two rows for one image
        (["a", "a.png"], ["a.png"], {}),  # the image has a row
        (["a"], ["a.png", "a.jpg"], {}),
        (["a.bmp"], ["a.png", "a.jpg"], {}),
        (["A.png"], ["a.png", "b.png"], {"a.png": "A.png"}),
        (["A.png", "a.PNG"], ["a.png"], {}),
        (["1.png"], ["01.png", "11.png"], {}),
        (["../a.png"], ["a.png"], {"a.png": "../a.png"}),
        (["", "/", "\\"], ["a.png"], {}),
    ],
)
def test_what_is_not_certain_is_not_matched(rows: list[str], names: list[str], expected: dict[str, str]) -> None:
    assert match_rows(rows, frozenset(names), Path("/root")) == expected
