"""Door to ``refiner render``: python tools/render.py OUT ... (the package must be installed)."""

import sys

from refiner.commands import main

if __name__ == "__main__":
    main(["render", *sys.argv[1:]], prog_name="refiner")
