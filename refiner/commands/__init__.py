"""The command line. Each command parses its options, calls one library function and reports; it is imported on use."""

import logging
import sys

import click

from refiner.commands.shared.lazy_group import LazyGroup
from refiner.commands.shared.reporting import OneLine
from refiner.core.processes import is_main_process

COMMANDS = {
    "demo": "Render, train, refine and measure, on rendered eyes or hands.",
    "render": "Render labelled procedural eyes.",
    "hands": "Render labelled procedural hands as depth images.",
    "objects": "Render labelled procedural scenes of objects in colour, as COCO.",
    "train": "Train a refiner, or resume a run.",
    "refine": "Refine a folder or a store of renders, or one image.",
    "evaluate": "Judge a refiner: realism, label preservation, downstream utility, verdict.",
    "report": "Write the evaluation as a page with pictures, and a visual Turing test.",
    "export": "Export a refiner to ONNX or OpenVINO, or with a model card for sharing.",
    "convert": "Convert a data set into a folder or a store with labels.",
    "inspect": "Describe a data set, a run or a refiner file, and find what looks wrong.",
    "gaze": "Train, evaluate and use gaze estimators.",
    "benchmark": "Measure how fast this machine refines and trains.",
    "environment": "Print versions, processor and devices, for bug reports.",
}
"""One-line help of each command, shown without importing the command."""


@click.command(
    cls=LazyGroup,
    table=COMMANDS,
    package="refiner.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="simgan-refiner")
@click.option("--quiet", is_flag=True, help="Print only warnings and errors on standard error.")
def main(quiet: bool) -> None:
    """Make rendered images look more real, and measure whether their labels survived.

    Exit status: 0 done; 1 failed; 2 wrong use, also if found late; 3 refused by the verdict (--gate); 4 done, but some
    inputs were rejected, or labels or files were left out.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    level = logging.WARNING if quiet else logging.INFO
    logging.getLogger("refiner").setLevel(level if is_main_process() else logging.ERROR)
