"""``refiner export``: write a refiner as an ONNX or OpenVINO model, or as a file to share."""

from pathlib import Path

import click

from refiner.commands.options import ANY_PATH, REFINER_PATH, overwrite_option


@click.command()
@click.argument("refiner", type=REFINER_PATH, metavar="FILE_OR_RUN")
@click.argument("out", type=ANY_PATH, metavar="OUT")
@click.option("--card", is_flag=True, help="Also write a model card, README.md, next to OUT.")
@click.option(
    "--verdict",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Output of refiner evaluate --json for this refiner; goes into the model card.",
)
@overwrite_option
def command(refiner: Path, out: Path, card: bool, verdict: Path | None, overwrite: bool) -> None:
    """Write a refiner as an ONNX model, an OpenVINO model, or a refiner file to share.

    The suffix of OUT selects the format. OUT.onnx is for ONNX Runtime. OUT.xml is for OpenVINO, with the weights in
    OUT.bin. Both map `images` to `refined`, (N, C, H, W), float32, in [-1, 1], for any N, H and W, and contain the
    metadata of the refiner; they need the extra onnx or openvino. OUT.safetensors is the refiner file of a run, without
    the rest of the run.

    \b
    Examples:
      refiner export runs/eyes eyes.onnx
      refiner export runs/eyes shared/refiner.safetensors --card --verdict verdict.json
    """
    from refiner.core.files import write_text
    from refiner.inference.backends.export import export_refiner
    from refiner.models.refiner_file import load_refiner
    from refiner.report.model_card import card_path, model_card, read_verdict

    if verdict is not None and not card:
        raise click.UsageError("--verdict is only used in the model card; add --card")
    # Check all inputs before anything is written.
    facts = None if verdict is None else read_verdict(verdict)
    card_file = card_path(out, overwrite=overwrite) if card else None
    # Write the model, then the card next to it.
    for path in export_refiner(load_refiner(refiner), out, overwrite=overwrite):
        click.echo(path)
    if card_file is not None:
        write_text(card_file, model_card(refiner, verdict=facts))
        click.echo(card_file)
