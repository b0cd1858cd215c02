"""``refiner gaze``: a group with one module for each subcommand."""

import click

from refiner.commands.shared.lazy_group import LazyGroup

SUBCOMMANDS = {
    "train": "Train a gaze estimator, or resume a run.",
    "evaluate": "Test estimators on labelled images.",
    "predict": "Predict the gaze of a data set or of one image.",
    "match": "Select renders whose gaze is distributed like that of real images.",
    "correct-bias": "Correct the bias of an estimator on real images, without their labels.",
}
"""Subcommands and their one-line help, which is shown without importing them."""


@click.command(cls=LazyGroup, table=SUBCOMMANDS, package="refiner.commands.gaze")
def command() -> None:
    """Train, evaluate and use gaze estimators.

    A gaze estimator measures downstream utility: it is trained on raw or refined renders and tested on real images.
    """
