"""The model card of a refiner: what it is, what it has learnt from, whether it is to be trusted, and for what."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.errors import DataError, OutputError, RefinerError
from refiner.core.files import read_regular
from refiner.data.formats.registry import open_dataset
from refiner.inspection.runs import RefinerFacts, inspect_refiner
from refiner.models.lookup import find_refiner
from refiner.runs.folder import CONFIG_FILE

_USE = """Give it renders like those it has learnt from: the same kind of image, size and histogram. What comes out is
meant for training, beside the labels of the renders. It is not meant for showing people something that was not
photographed, and no figure here says anything about other renderers, other cameras or other tasks."""

_NOT_JUDGED = """Not judged. `refiner evaluate --synthetic DATA --refined REFINER --real DATA --json` judges it,
and `refiner export --card --verdict FILE` puts its answer here."""


def model_card(path: Path, *, verdict: Mapping[str, Any] | None = None) -> str:
    """A card in Markdown, with the front matter that hubs read.

    Args:
        path: a refiner file, or the folder of its run, which knows the data as well.
        verdict: what ``refiner evaluate --json`` printed of it.

    Raises:
        RefinerError: there is no refiner.
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


def card_place(exported: Path, *, overwrite: bool = False) -> Path:
    """Where the card of an exported refiner goes: README.md beside it.

    Raises:
        OutputError: something is there already.
    """
    place = exported.with_name("README.md")
    if place.exists() and not overwrite:
        raise OutputError(f"{place}: is there already; choose another folder, or replace it with --overwrite")
    return place


def read_verdict(file: Path) -> Mapping[str, Any]:
    """What ``refiner evaluate --json`` printed into a file.

    Raises:
        DataError: it is something else.
    """
    try:
        found: Any = json.loads(read_regular(file))
        if found["command"] != "evaluate":
            raise ValueError(f"it is of refiner {found['command']}")
        _judgement(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: is not what refiner evaluate --json prints ({error})") from error
    return dict(found)


def _usage() -> str:
    return (
        "```python\n"
        "import refiner\n\n"
        'refine = refiner.Refiner.load("refiner.safetensors")  # or hf://OWNER/NAME\n'
        "refined = refine(image)  # uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4); the same comes back\n"
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
        return "Not known: the file says nothing about it."
    defaults = TrainingConfiguration().model_dump(mode="json")
    changed = {name: value for name, value in configuration.items() if defaults.get(name) != value}
    step, precision = (facts.training.get(name, "?") for name in ("step", "precision"))
    lines = [f"{step} steps in {precision}. Not at its default:", ""]
    return "\n".join([*lines, *(f"- `{name}`: {value}" for name, value in changed.items())])


def _data(path: Path) -> str:
    """Names, sizes and licences of the data sets; their places on this machine are nobody's business."""
    if not (path / CONFIG_FILE).is_file():
        return "Not known: the card was made from a refiner file alone, not from its run."
    data = read_configuration(path / CONFIG_FILE, TrainingConfiguration).data
    lines = ["| | data set | images | licence |", "| --- | --- | --- | --- |"]
    for role, place in (("synthetic", data.synthetic), ("real", data.real)):
        if place is not None:
            lines.append(f"| {role} | {place.name} | {' | '.join(_facts(place))} |")
    limits = "The weights follow from these images: what their licences forbid is forbidden with the weights, too."
    return "\n".join([*lines, "", limits])


def _facts(place: Path) -> tuple[str, str]:
    try:
        dataset = open_dataset(place)
        return f"{len(dataset.ids):,}", dataset.licence
    except RefinerError:
        return "no longer at hand", "not known"


def _judgement(verdict: Mapping[str, Any]) -> str:
    said = verdict["verdict"]
    lines = [f"**{said['decision']}**", "", *(f"- {reason}" for reason in said["reasons"]), ""]
    lines += ["| | refined | floor | renders as they are |", "| --- | --- | --- | --- |"]
    for metric in verdict["metrics"]:
        cells = (_interval(metric[key]) for key in ("value", "reference", "baseline"))
        unit = f", {metric['unit']}" if metric["unit"] else ""
        lines.append(f"| {metric['name']}{unit} | {' | '.join(cells)} |")
    images = f"{verdict['images']:,} renders"
    lines += ["", f"By `refiner evaluate` on {images}; the floor is of photographs, or of labels that nothing moved."]
    return "\n".join(lines)


def _interval(values: Mapping[str, float] | None) -> str:
    if values is None:
        return ""
    return f"{values['mean']:.3g} [{values['low']:.3g}, {values['high']:.3g}]"
