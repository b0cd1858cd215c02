"""Door to ``refiner refine``: python tools/refine.py IN OUT ... (the package must be installed)."""

import sys

from refiner.commands import main

if __name__ == "__main__":
    main(["refine", *sys.argv[1:]], prog_name="refiner")
