"""tools/README.md names every program, and each of them can be imported."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"python -m ([\w.]+)", (ROOT / "tools" / "README.md").read_text(encoding="utf-8"))))


def test_every_program_is_in_the_readme() -> None:
    files = [path.relative_to(ROOT) for path in (ROOT / "tools").rglob("*.py") if "__main__" in path.read_text()]
    programs = {".".join(path.with_suffix("").parts).removesuffix(".__main__") for path in files}
    assert programs == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_every_program_can_be_imported(name: str) -> None:
    module = importlib.import_module("tools.study.commands" if name == "tools.study" else name)
    assert callable(module.main)
    assert module.main.__doc__
