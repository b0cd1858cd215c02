"""Door to ``refiner train``: python tools/train.py CONFIG ... (the package must be installed)."""

import sys

from refiner.commands import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]], prog_name="refiner")
