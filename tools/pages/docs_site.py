"""Hook of the documentation site (mkdocs.yml)."""

import re
from typing import Any

_ROLE = re.compile(r":(?:mod|func|class|meth|attr|data):<code>~?(.*?)</code>")


def on_page_content(html: str, **kwargs: Any) -> str:
    """Replace Sphinx roles of docstrings, such as ``:func:`~a.b```, by code."""
    return _ROLE.sub(r"<code>\1</code>", html)
