"""``python -m refiner`` is the ``refiner`` command."""

from refiner.commands import main

if __name__ == "__main__":
    main(prog_name="refiner")
