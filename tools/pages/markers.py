"""Generated tables on a hand-written page, between marker comments."""

import re
from collections.abc import Mapping

from refiner.core.errors import DataError

_TABLE = re.compile(r"<!-- table: (?P<name>[^>]*?) -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)


def tables_of(text: str) -> dict[str, str]:
    """Return the tables of a page by name, as they stand, for a tool that makes only some of them."""
    return {match["name"]: match["text"].removesuffix("\n") for match in _TABLE.finditer(text)}


def fill_tables(text: str, tables: Mapping[str, str], source: str) -> tuple[str, set[str]]:
    """Put each table between its markers, ``<!-- table: NAME -->`` and ``<!-- end -->``.

    Args:
        text: text of the page.
        tables: tables by name.
        source: name of the page, for messages.

    Returns:
        The new text, and the names of the tables on the page.

    Raises:
        DataError: a marker names an unknown table, or has no end.
    """
    used: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in tables:
            raise DataError(f"{source} asks for the table {name}, which is not one of {', '.join(tables)}")
        if "<!-- table:" in match["text"]:
            raise DataError(f"{source}: the table {name} has no end; write <!-- end --> after it")
        used.add(name)
        return f"<!-- table: {name} -->\n{tables[name]}\n<!-- end -->"

    filled = _TABLE.sub(fill, text)
    if filled.count("<!-- table:") != filled.count("<!-- end -->"):
        raise DataError(f"{source} has tables without an end; write <!-- end --> after each")
    return filled, used
