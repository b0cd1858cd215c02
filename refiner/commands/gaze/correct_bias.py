"""``refiner gaze correct-bias``: correct the bias of an estimator on real images, without their labels."""

import math
from pathlib import Path

import click

from refiner.commands.gaze.arguments import check_order
from refiner.commands.gaze.rejected import report_rejected
from refiner.commands.shared.options import ANY_PATH, EXISTING_PATH, device_option, json_option
from refiner.commands.shared.reporting import print_json, progress


@click.command("correct-bias")
@click.argument("estimator", type=EXISTING_PATH, metavar="ESTIMATOR")
@click.argument("real", type=EXISTING_PATH, metavar="REAL")
@click.argument("destination", type=ANY_PATH, metavar="OUT.safetensors")
@device_option
@json_option
def command(estimator: Path, real: Path, destination: Path, device: str, as_json: bool) -> None:
    """Add a constant to all predictions, so that their mean over REAL equals the mean of the training labels.

    The labels of REAL are not read. Use it only if real people look, on average, where the renders do; otherwise it
    harms. Fix a gaze range you know when rendering: refiner render --set gaze.pitch_degrees=...

    \b
    Example:
      refiner gaze correct-bias runs/gaze real corrected.safetensors
    """
    from refiner.gaze.bias_correction import correct_bias

    check_order([real], "ESTIMATOR REAL OUT.safetensors")
    with progress("predicting") as advance:
        correction = correct_bias(estimator, real, destination, device=device, report=advance)
    # Print the offset that was added.
    pitch, yaw = (math.degrees(angle) for angle in correction.offset)
    if as_json:
        print_json(
            "gaze correct-bias",
            estimator=str(destination),
            real=correction.real,
            rejected=correction.rejected,
            offset_degrees=[pitch, yaw],
        )
    else:
        click.echo(f"{destination}: added {pitch:+.2f} degrees to pitch, {yaw:+.2f} degrees to yaw")
    # This comes last, because it ends the command if images were rejected.
    report_rejected(correction.rejected)
