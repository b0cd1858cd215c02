"""``refiner export``: a refiner for other engines."""

from pathlib import Path

import click

from refiner.commands.options import ANY_PATH, REFINER_PATH, overwrite_option


@click.command()
@click.argument("refiner", type=REFINER_PATH, metavar="FILE_OR_RUN")
@click.argument("out", type=ANY_PATH, metavar="OUT")
@overwrite_option
def command(refiner: Path, out: Path, overwrite: bool) -> None:
    """Write a refiner as OUT.onnx or, for OpenVINO, as OUT.xml with its weights in OUT.bin.

    It takes `images` and gives `refined`: any number, height and width, float32 in [-1, 1]. What the refiner file
    says of itself goes along. Wants the extra onnx or openvino.

    \b
    Example:
      refiner export runs/eyes eyes.onnx
    """
    from refiner.exporting import export_refiner
    from refiner.refiner_files import load_refiner

    for path in export_refiner(load_refiner(refiner), out, overwrite=overwrite):
        click.echo(path)
