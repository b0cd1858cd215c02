"""``refiner export``: write a refiner as an ONNX or OpenVINO model, or as a file to share."""

from pathlib import Path
from typing import Any

import click

from refiner.commands.shared.options import ANY_PATH, REFINER_PATH, overwrite_option


@click.command()
@click.argument("refiner", type=REFINER_PATH, metavar="FILE_OR_RUN")
@click.argument("out", type=ANY_PATH, metavar="OUT")
@click.option("--card", is_flag=True, help="Also write a model card, README.md; OUT may then be a folder.")
@click.option(
    "--license",
    metavar="NAME",
    help="Licence of the weights on the card, by its name on the Hugging Face hub, such as cc-by-nc-4.0, or other.",
)
@click.option("--license-name", metavar="NAME", help="Name of the licence if it is other.")
@click.option("--license-link", metavar="URL", help="Address of the licence if it is other.")
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="OWNER/NAME",
    help="Data set on the hub that the refiner was trained on; goes into the model card; may be repeated.",
)
@click.option(
    "--verdict",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Output of refiner evaluate --json for this refiner; goes into the model card.",
)
@overwrite_option
def command(refiner: Path, out: Path, card: bool, verdict: Path | None, overwrite: bool, **terms: Any) -> None:
    """Write a refiner as an ONNX model, an OpenVINO model, or a refiner file to share.

    The suffix of OUT selects the format. OUT.onnx is for ONNX Runtime. OUT.xml is for OpenVINO, with the weights in
    OUT.bin. Both map `images` to `refined`, (N, C, H, W), float32, in [-1, 1], for any N, H and W, and contain the
    metadata of the refiner; they need the extra onnx or openvino. OUT.safetensors is the refiner file of a run, without
    the rest of the run.

    With --card, OUT may be a folder, which gets refiner.safetensors and README.md and can be uploaded to the Hugging
    Face hub as it is. You state the licence of the weights with --license. The limits of the licences of the training
    data apply to the weights, too.

    \b
    Examples:
      refiner export runs/eyes eyes.onnx
      refiner export runs/eyes shared --card --license cc-by-nc-4.0 --verdict verdict.json
    """
    from refiner.inference.backends.export import export_refiner
    from refiner.inference.sharing import share_refiner
    from refiner.models.files.model_card import CardTerms, read_verdict, training_data
    from refiner.models.files.refiner_file import load_refiner

    if not card:
        options = {"verdict": verdict, **terms}
        if used := next((name for name, value in options.items() if value), None):
            option = f"--{used.replace('_', '-')}".replace("--datasets", "--dataset")
            raise click.UsageError(f"{option} is only used in the model card; add --card")
        files = export_refiner(load_refiner(refiner), out, overwrite=overwrite)
    else:
        if terms["license"] is None:
            raise click.UsageError(
                "--card needs the licence of the weights, which only you can state; add --license NAME, such as "
                "apache-2.0 or cc-by-nc-4.0, or --license other --license-name NAME"
            )
        # Check all inputs before anything is written.
        stated = CardTerms(terms["license"], terms["license_name"], terms["license_link"], tuple(terms["datasets"]))
        facts = None if verdict is None else read_verdict(verdict)
        data = training_data(refiner) if refiner.is_dir() else None
        files = share_refiner(load_refiner(refiner), out, stated, data=data, verdict=facts, overwrite=overwrite)
    for path in files:
        click.echo(path)
