"""Objects cut out of annotation files, with every other byte kept."""

import json
from pathlib import Path

import pytest

from refiner.core.errors import DataError
from refiner.data.annotations.edits import Edit, cut_elements, dumped_like, value_span, write_edited

SPACED = '{ "a" : [ {"id":1.50} ,\n  {"id":2},{"id":3 }\t, {"id":4}\n ], "z": "{é, [,]}" }'


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        ([], SPACED),
        ([1], '{ "a" : [ {"id":2},{"id":3 }\t, {"id":4}\n ], "z": "{é, [,]}" }'),
        ([2], '{ "a" : [ {"id":1.50} ,\n  {"id":3 }\t, {"id":4}\n ], "z": "{é, [,]}" }'),
        ([4], '{ "a" : [ {"id":1.50} ,\n  {"id":2},{"id":3 }\t\n ], "z": "{é, [,]}" }'),
        ([2, 3], '{ "a" : [ {"id":1.50} ,\n  {"id":4}\n ], "z": "{é, [,]}" }'),
        ([1, 3], '{ "a" : [ {"id":2},{"id":4}\n ], "z": "{é, [,]}" }'),
        ([3, 4], '{ "a" : [ {"id":1.50} ,\n  {"id":2}\n ], "z": "{é, [,]}" }'),
        ([1, 2, 3, 4], '{ "a" : [ \n ], "z": "{é, [,]}" }'),
    ],
)
def test_elements_of_a_list_are_cut_out_with_one_comma_each(tmp_path: Path, dropped: list[int], expected: str) -> None:
    path = tmp_path / "in.json"
    path.write_text(SPACED, encoding="utf-8")
    spans = []
    for number in dropped:
        text = next(text for text in ('{"id":1.50}', '{"id":2}', '{"id":3 }', '{"id":4}') if f":{number}" in text)
        start = SPACED.index(text)  # no other characters come before
        spans.append((start, start + len(text)))
    write_edited(path, tmp_path / "out" / "cut.json", cut_elements(path, reversed(spans)))
    text = (tmp_path / "out" / "cut.json").read_text(encoding="utf-8")
    assert text == expected
    assert [each["id"] for each in json.loads(text)["a"]] == [n for n in (1.5, 2, 3, 4) if int(n) not in dropped]


def test_parts_that_overlap_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abcdef")
    with pytest.raises(DataError, match="they overlap"):
        write_edited(tmp_path / "in", tmp_path / "out", [Edit(0, 3), Edit(2, 4)])
    assert not (tmp_path / "out").exists()


def test_the_value_of_a_key_is_found_in_the_text_of_an_object() -> None:
    text = ' {"objects_x": 1, "a": {"objects": 2}, "objects" : [3, "}"] , "b": 4}'
    span = value_span(text, "objects")
    assert span is not None
    assert text[slice(*span)] == '[3, "}"]'
    assert value_span(text, "c") is None
    assert value_span("{}", "c") is None


def test_json_is_written_in_the_style_of_other_json() -> None:
    assert dumped_like({"a": ["é", 1]}, '{"b": "e"}') == '{"a": ["\\u00e9", 1]}'
    assert dumped_like({"a": ["é", 1]}, '{"b":"ü"}') == '{"a":["é",1]}'
