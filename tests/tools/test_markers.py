"""Generated tables on pages that several tools share."""

from tools.pages.markers import fill_tables, tables_of

PAGE = "before\n<!-- table: one -->\n| a |\n| b |\n<!-- end -->\nbetween\n<!-- table: two -->\nold\n<!-- end -->\n"


def test_a_tool_keeps_the_tables_of_others() -> None:
    assert tables_of(PAGE) == {"one": "| a |\n| b |", "two": "old"}
    assert fill_tables(PAGE, tables_of(PAGE), "page") == (PAGE, {"one", "two"})
    text, _ = fill_tables(PAGE, tables_of(PAGE) | {"two": "new"}, "page")
    assert text == PAGE.replace("old", "new")
