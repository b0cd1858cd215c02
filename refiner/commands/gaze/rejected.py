"""Report of the images that a gaze command could not use."""

import sys
from collections.abc import Mapping

import click

from refiner.commands.shared.options import REJECTED_STATUS

_SHOWN = 5  # rejected images that are named


def report_rejected(rejected: Mapping[str, str]) -> None:
    """Name the first rejected images on standard error, and exit with :data:`REJECTED_STATUS` if there are any."""
    if not rejected:
        return
    for path, reason in list(rejected.items())[:_SHOWN]:
        click.echo(f"rejected {path}: {reason}", err=True)
    if len(rejected) > _SHOWN:
        click.echo(f"rejected {len(rejected) - _SHOWN} more images", err=True)
    sys.exit(REJECTED_STATUS)
