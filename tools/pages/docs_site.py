"""A hook of the docs site (mkdocs.yml): what it does beside its plugins."""

import re
from typing import Any

_ROLE = re.compile(r":(?:mod|func|class|meth|attr|data):<code>~?(.*?)</code>")


def on_page_content(html: str, **kwargs: Any) -> str:
    """Docstrings name things as Sphinx does; here they are code."""
    return _ROLE.sub(r"<code>\1</code>", html)
