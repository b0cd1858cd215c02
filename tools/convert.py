"""Door to ``refiner convert``: python tools/convert.py IN OUT ... (the package must be installed)."""

import sys

from refiner.commands import main

if __name__ == "__main__":
    main(["convert", *sys.argv[1:]], prog_name="refiner")
