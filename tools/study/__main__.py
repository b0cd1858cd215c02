"""``python -m tools.study``: the program of the studies."""

from tools.study.commands import main

if __name__ == "__main__":
    main(prog_name="python -m tools.study")
