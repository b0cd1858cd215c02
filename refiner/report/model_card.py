"""The model card of a refiner: its network, training, data, verdict and intended use."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.errors import RefinerError, WrongInputError, WrongOutputError
from refiner.core.files import read_regular
from refiner.data.formats.registry import open_dataset
from refiner.inspection.runs import RefinerFacts, inspect_refiner
from refiner.models.lookup import find_refiner
from refiner.models.refiner_file import kept_step
from refiner.runs.folder import CONFIG_FILE

_USE = """The refiner expects renders like those it was trained on: the same kind of image, size and histogram. The
refined images are meant for training models with the labels of the renders. They are not meant to pass for real
photographs. The metrics above do not apply to other renderers, other cameras or other tasks."""

_NOT_JUDGED = """This refiner was not evaluated. Run `refiner evaluate --synthetic DATA --refined REFINER --real DATA
--json > FILE`, then export with `refiner export --card --verdict FILE`."""


def model_card(path: Path, *, verdict: Mapping[str, Any] | None = None) -> str:
    """Return a card in Markdown, with the front matter that model hubs read.

    Args:
        path: a refiner file, or its run folder, which also records the data.
        verdict: output of ``refiner evaluate --json`` for this refiner.

    Raises:
        RefinerError: ``path`` holds no refiner that can be read.
    """
    facts = inspect_refiner(find_refiner(path))
    sections = {
        "Use": _usage(),
        "Network": _network(facts),
        "Training": _training(facts),
        "Data": _data(path),
        "Verdict": _NOT_JUDGED if verdict is None else _judgement(verdict),
        "Intended use": _USE,
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    front = "---\nlibrary_name: simgan-refiner\nlicense: other\ntags: [image-to-image, sim-to-real, simgan]\n---"
    return f"{front}\n\n# A refiner of rendered images\n\n{body}\n"


def card_path(exported: Path, *, overwrite: bool = False) -> Path:
    """Return the path of the card of an exported refiner: README.md in the same folder.

    Raises:
        OutputError: the file already exists, and ``overwrite`` is not set.
    """
    place = exported.with_name("README.md")
    if place.exists() and not overwrite:
        raise WrongOutputError(f"{place} already exists; choose another folder, or pass --overwrite to replace it")
    return place


def read_verdict(file: Path) -> Mapping[str, Any]:
    """Read the output of ``refiner evaluate --json`` from a file.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    wanted = "write one with refiner evaluate --json > FILE"
    try:
        found: Any = json.loads(read_regular(file))
        command = found["command"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongInputError(f"{file} is not the output of a refiner command in JSON; {wanted}") from error
    if command != "evaluate":
        raise WrongInputError(f"{file} is the output of refiner {command}, not of refiner evaluate; {wanted}")
    try:
        _judgement(found)
    except (ValueError, KeyError, TypeError) as error:
        raise WrongInputError(f"{file} holds no verdict that this version can read; {wanted}") from error
    return dict(found)


def _usage() -> str:
    return (
        "```python\n"
        "import refiner\n\n"
        'refine = refiner.Refiner.load("refiner.safetensors")  # or hf://OWNER/NAME\n'
        "refined = refine(image)  # uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4); returns the same type and shape\n"
        "```\n\n"
        "`refiner refine IN OUT --refiner refiner.safetensors` refines a folder or a store."
    )


def _network(facts: RefinerFacts) -> str:
    channels = "grey" if facts.architecture.get("channels", 1) == 1 else "RGB"
    settings = ", ".join(f"{name} {value}" for name, value in facts.architecture.items())
    return (
        f"{facts.parameters:,} parameters, {channels}, receptive field {facts.receptive_field}x{facts.receptive_field} "
        f"({settings}); SHA-256 of the weights {facts.digest}."
    )


def _training(facts: RefinerFacts) -> str:
    configuration = facts.training.get("configuration")
    if not configuration:
        return "Unknown: the refiner file records no training configuration."
    # List only the settings that differ from their defaults.
    defaults = TrainingConfiguration().model_dump(mode="json")
    changed = {name: value for name, value in configuration.items() if defaults.get(name) != value}
    precision = facts.training.get("precision", "?")
    weights = kept_step(facts.training) or "an unknown step"
    lines = [f"The weights are of {weights}, trained in {precision}. These settings differ from the defaults:", ""]
    return "\n".join([*lines, *(f"- `{name}`: {value}" for name, value in changed.items())])


def _data(path: Path) -> str:
    """Describe the data sets by name, size and licence. Their paths on this machine stay private."""
    if not (path / CONFIG_FILE).is_file():
        return "Unknown: the card was made from a refiner file only, without its run."
    data = read_configuration(path / CONFIG_FILE, TrainingConfiguration).data
    lines = ["| | data set | images | licence |", "| --- | --- | --- | --- |"]
    for role, source in (("synthetic", data.synthetic), ("real", data.real)):
        if source is not None:
            lines.append(f"| {role} | {source.name} | {' | '.join(_facts(source))} |")
    limits = "The weights were derived from these images: the limits of their licences apply to the weights, too."
    return "\n".join([*lines, "", limits])


def _facts(path: Path) -> tuple[str, str]:
    try:
        dataset = open_dataset(path)
        return f"{len(dataset.ids):,}", dataset.licence
    except RefinerError:
        return "no longer available", "unknown"


def _judgement(verdict: Mapping[str, Any]) -> str:
    """Format a verdict, its reasons and its metrics; raise KeyError or TypeError if ``verdict`` is something else."""
    judgement = verdict["verdict"]
    lines = [f"**{judgement['decision']}**", "", *(f"- {reason}" for reason in judgement["reasons"]), ""]
    lines += ["| metric | refined | reference | baseline |", "| --- | --- | --- | --- |"]
    for metric in verdict["metrics"]:
        cells = (_interval(metric[key]) for key in ("value", "reference", "baseline"))
        unit = f", {metric['unit']}" if metric["unit"] else ""
        lines.append(f"| {metric['name']}{unit} | {' | '.join(cells)} |")
    note = (
        f"Measured by `refiner evaluate` on {verdict['images']:,} renders. The reference compares real images with "
        "other real images, or measures labels that nothing moved. The baseline is that of unrefined renders."
    )
    # Verdicts of older versions have no notes.
    return "\n".join([*lines, "", note, *(f"\n{text}" for text in verdict.get("notes", ()))])


def _interval(values: Mapping[str, float | None] | None) -> str:
    if values is None:
        return ""
    if values["low"] is None or values["high"] is None:
        return f"{values['mean']:.3g}"
    return f"{values['mean']:.3g} [{values['low']:.3g}, {values['high']:.3g}]"
