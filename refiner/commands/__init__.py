"""The command line: each command parses, calls one library function and reports. Commands load when called."""

import logging
import os
import sys

import click

from refiner.commands.lazy_group import LazyGroup
from refiner.commands.reporting import OneLine

COMMANDS = {
    "demo": "Show everything at once on rendered eyes, or hands: render, train, refine, measure.",
    "render": "Render labelled procedural eyes.",
    "hands": "Render labelled procedural hands, as depth.",
    "train": "Train a refiner, or go on where it was stopped.",
    "refine": "Refine a folder of renders, or one image.",
    "evaluate": "Judge a refiner: realism, label preservation, usefulness, and a verdict.",
    "report": "Write a page on a refiner, with pictures and the verdict, and a visual Turing test.",
    "export": "Write a refiner for ONNX Runtime or OpenVINO, or to share it with a model card.",
    "convert": "Convert a data set into a folder of patches with labels.",
    "inspect": "Say what a data set, a run or a refiner file is, and what looks wrong with it.",
    "gaze": "Train, evaluate and use a gaze estimator.",
    "benchmark": "Measure how fast this machine refines and trains.",
    "environment": "Print versions, processor and devices, for bug reports.",
}
"""Commands and their one-line help, which is shown without importing them."""


@click.command(
    cls=LazyGroup,
    table=COMMANDS,
    package="refiner.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="simgan-refiner")
@click.option("--quiet", is_flag=True, help="Only warnings and errors on standard error.")
def main(quiet: bool) -> None:
    """Make renders look like photographs without moving what their labels describe.

    Exit status: 0 done, 1 failed, 2 wrong use, 3 the verdict refuses, 4 finished, but some inputs were rejected.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    level = logging.WARNING if quiet else logging.INFO
    first = os.environ.get("RANK", "0") == "0"  # of the processes of accelerate launch: one speaks for all
    logging.getLogger("refiner").setLevel(level if first else logging.ERROR)
