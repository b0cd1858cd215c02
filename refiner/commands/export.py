"""``refiner export``: a refiner for other engines, or for other people."""

from pathlib import Path

import click

from refiner.commands.options import ANY_PATH, REFINER_PATH, overwrite_option


@click.command()
@click.argument("refiner", type=REFINER_PATH, metavar="FILE_OR_RUN")
@click.argument("out", type=ANY_PATH, metavar="OUT")
@click.option("--card", is_flag=True, help="Write a model card beside it, README.md: data, licences, verdict, use.")
@click.option(
    "--verdict",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What refiner evaluate --json printed of it, for the card.",
)
@overwrite_option
def command(refiner: Path, out: Path, card: bool, verdict: Path | None, overwrite: bool) -> None:
    """Write a refiner as OUT.onnx, for OpenVINO as OUT.xml with its weights in OUT.bin, or as OUT.safetensors.

    The first two take `images` and give `refined`: any number, height and width, float32 in [-1, 1]. What the refiner
    file says of itself goes along. They want the extra onnx or openvino. The last is the refiner file by itself, to be
    put on a hub with its card.

    \b
    Example:
      refiner export runs/eyes eyes.onnx
      refiner export runs/eyes shared/refiner.safetensors --card --verdict verdict.json
    """
    from refiner.core.files import write_text
    from refiner.inference.backends.export import export_refiner
    from refiner.models.refiner_file import load_refiner
    from refiner.report.model_card import card_place, model_card, read_verdict

    if verdict is not None and not card:
        raise click.UsageError("--verdict goes into the card; add --card")
    judged = None if verdict is None else read_verdict(verdict)  # first: what is wrong must cost nothing
    place = card_place(out, overwrite=overwrite) if card else None
    for path in export_refiner(load_refiner(refiner), out, overwrite=overwrite):
        click.echo(path)
    if place is not None:
        write_text(place, model_card(refiner, verdict=judged))
        click.echo(place)
