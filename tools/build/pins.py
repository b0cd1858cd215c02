"""Write the versions that ``uv lock`` chose into ``[tool.uv] constraint-dependencies`` of pyproject.toml.

Run it from the repository root after a change of dependencies, or with ``--upgrade`` to take newer versions:

    uv run python -m tools.build.pins [--upgrade]
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

HEAD = "constraint-dependencies = ["


def locked_pins() -> list[str]:
    """Return ``name==version`` of every package in uv.lock.

    If uv chose several versions for several Pythons, the lowest is taken, which works for all of them.
    """
    packages = tomllib.loads(Path("uv.lock").read_text(encoding="utf-8"))["package"]
    versions: dict[str, list[str]] = {}
    for package in packages:
        if "version" in package and "editable" not in package["source"]:
            versions.setdefault(package["name"], []).append(package["version"])
    return sorted(f"{name}=={min(found, key=_numbers)}" for name, found in versions.items())


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def main() -> None:
    """Lock without the old pins, then write the new ones."""
    file = Path("pyproject.toml")
    text = re.sub(rf"^{re.escape(HEAD)}.*?^\]\n", "", file.read_text(encoding="utf-8"), flags=re.M | re.S)
    file.write_text(text, encoding="utf-8")
    subprocess.run(["uv", "lock", *sys.argv[1:]], check=True)
    lines = "".join(f'    "{pin}",\n' for pin in locked_pins())
    file.write_text(text.replace("[tool.uv]\n", f"[tool.uv]\n{HEAD}\n{lines}]\n"), encoding="utf-8")
    subprocess.run(["uv", "lock"], check=True)
    print(f"{len(locked_pins())} packages pinned in {file}")


if __name__ == "__main__":
    main()
