"""The model card of a refiner, as model hubs read it: its licence, network, training, data, verdict and intended use.

The owner states the licence and, if they want, data sets on the hub. Everything else was measured or recorded.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration
from refiner.core.errors import RefinerError, UsageError, WrongInputError
from refiner.core.files import read_regular
from refiner.data.formats.registry import open_dataset
from refiner.models.architecture import settings_in_words
from refiner.models.files.lookup import CONFIG_FILE
from refiner.models.files.refiner_file import RefinerFile, kept_step

log = logging.getLogger(__name__)

CARD_FILE = "README.md"
"""Name under which hubs show a model card."""

REPOSITORY = "OWNER/NAME"
"""Stands for a repository on the hub that is not known yet."""

_USE = """The refiner expects renders like those it was trained on: the same kind of image, size and histogram. The
refined images are meant for training models with the labels of the renders. They are not meant to pass for real
photographs. The metrics above do not apply to other renderers, other cameras or other tasks."""

_NOT_JUDGED = """This refiner was not evaluated. Run `refiner evaluate --synthetic DATA --refined REFINER --real DATA
--json > FILE`, then export with `refiner export --card --verdict FILE`."""

_RESTRICTED = re.compile(r"research|non-?commercial|academic|\bnc\b", re.IGNORECASE)
"""Words of licences that restrict what the weights may be used for."""


class TrainingData(NamedTuple):
    """A data set that a refiner was trained on.

    Attributes:
        role: ``synthetic`` or ``real``.
        name: name of its folder or file; its path on this machine stays private.
        images: number of its images in words.
        licence: its licence in words.
    """

    role: str
    name: str
    images: str
    licence: str


@dataclass(frozen=True)
class CardTerms:
    """Terms that the owner of a refiner states on its card.

    Attributes:
        license: licence of the weights, by its name on the Hugging Face hub, such as ``cc-by-nc-4.0``, or ``other``.
        license_name: name of an ``other`` licence.
        license_link: address of an ``other`` licence, or the name of its file.
        datasets: names of data sets on the hub that the refiner was trained on.

    Raises:
        UsageError: the licence is not as the hub writes it, or an ``other`` licence has no name.
    """

    license: str
    license_name: str | None = None
    license_link: str | None = None
    datasets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", self.license):
            raise UsageError(
                f"{self.license!r} is not the name of a licence on the hub; expected a name such as apache-2.0 or "
                "cc-by-nc-4.0, or other with the name of the licence"
            )
        if self.license == "other" and not self.license_name:
            raise UsageError("the licence other needs a name; add it with --license-name, or license_name in Python")
        if self.license != "other" and (self.license_name or self.license_link):
            raise UsageError(f"the licence {self.license} is known by its name; a name or link of its own needs other")
        for name in self.datasets:
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
                raise UsageError(f"{name!r} is not the name of a data set on the hub; expected OWNER/NAME")


def model_card(
    refiner: RefinerFile,
    terms: CardTerms,
    *,
    data: Sequence[TrainingData] | None = None,
    verdict: Mapping[str, Any] | None = None,
    repository: str = REPOSITORY,
) -> str:
    """Return a card in Markdown, with the front matter that model hubs read.

    Args:
        refiner: the refiner.
        terms: what its owner states.
        data: data sets that it was trained on, from :func:`training_data`; None if they are not known.
        verdict: output of ``refiner evaluate --json`` for this refiner.
        repository: where the card will be on the hub, for the example.
    """
    sections = {
        "Use": _usage(repository),
        "Network": _network(refiner),
        "Training": _training(refiner.metadata.get("training", {})),
        "Data": _data(data),
        "Verdict": _NOT_JUDGED if verdict is None else _judgement(verdict),
        "Intended use": _USE,
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    front = yaml.safe_dump(_front_matter(refiner, terms, verdict), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n# A refiner of rendered images\n\n{body}\n"


def training_data(run: Path) -> list[TrainingData] | None:
    """Return the data sets that a run was trained on; None if the path is no run folder, such as a refiner file.

    Raises:
        ConfigurationError: the configuration of the run cannot be read.
    """
    if not (run / CONFIG_FILE).is_file():
        return None
    data = read_configuration(run / CONFIG_FILE, TrainingConfiguration).data
    sources = (("synthetic", data.synthetic), ("real", data.real))
    return [TrainingData(role, source.name, *_facts(source)) for role, source in sources if source is not None]


def warn_of_licences(terms: CardTerms, data: Sequence[TrainingData] | None) -> None:
    """Warn if the weights were trained on data for research only, and the stated licence allows more."""
    if _RESTRICTED.search(f"{terms.license} {terms.license_name or ''}"):
        return
    for each in data or ():
        if _RESTRICTED.search(each.licence):
            log.warning(
                "the weights were trained on %s, whose licence is %r, and you state %s for them; check that you may",
                each.name,
                each.licence,
                terms.license_name or terms.license,
            )


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
        _results(found)
    except (ValueError, KeyError, TypeError) as error:
        raise WrongInputError(f"{file} holds no verdict that this version can read; {wanted}") from error
    return dict(found)


def check_verdict(verdict: Mapping[str, Any], refiner: RefinerFile) -> None:
    """Refuse a verdict on another refiner; older verdicts do not name theirs.

    Raises:
        WrongInputError: the verdict was measured with other weights.
    """
    judged = verdict.get("refiner")
    if judged is not None and judged != refiner.digest():
        raise WrongInputError(
            f"the verdict is about another refiner, with weights {str(judged)[:12]}, not {refiner.digest()[:12]}; run "
            "refiner evaluate --json on this one"
        )


def _front_matter(refiner: RefinerFile, terms: CardTerms, verdict: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the metadata of the card, in the words of the hub."""
    method = (refiner.metadata.get("training", {}).get("configuration") or {}).get("method")
    front: dict[str, Any] = {"library_name": "simgan-refiner", "license": terms.license}
    front |= {"license_name": terms.license_name} if terms.license_name else {}
    front |= {"license_link": terms.license_link} if terms.license_link else {}
    front |= {"pipeline_tag": "image-to-image"}
    front |= {"tags": ["sim-to-real", "synthetic-data", "domain-adaptation", *([method] if method else [])]}
    front |= {"datasets": list(terms.datasets)} if terms.datasets else {}
    if verdict is not None:
        front |= {"metrics": [metric["key"] for metric in verdict["metrics"]], "model-index": [_results(verdict)]}
    return front


def _results(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a verdict as an entry of the hub's index of results."""
    names = verdict.get("data", {})
    name = f"{names['synthetic']} and {names['real']}" if names else "own renders and real images"
    metrics = [
        {
            "type": metric["key"],
            "name": metric["name"] + (f", {metric['unit']}" if metric["unit"] else ""),
            "value": float(f"{metric['value']['mean']:.4g}"),
        }
        for metric in verdict["metrics"]
    ]
    results = {"task": {"type": "image-to-image"}, "dataset": {"name": name, "type": "private"}, "metrics": metrics}
    return {"name": "refiner", "results": [results]}


def _usage(repository: str) -> str:
    return (
        "```python\n"
        "import refiner\n\n"
        f'refine = refiner.Refiner.from_pretrained("{repository}")  # or the folder of this file\n'
        "refined = refine(image)  # uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4); returns the same type and shape\n"
        "```\n\n"
        f"`refiner refine IN OUT --refiner hf://{repository}` refines a folder or a store. Both need "
        "`pip install 'simgan-refiner[hub]'`."
    )


def _network(refiner: RefinerFile) -> str:
    architecture, settings = refiner.architecture, settings_in_words(asdict(refiner.architecture))
    channels = "grey" if architecture.channels == 1 else "RGB"
    count, field = sum(values.size for values in refiner.weights.values()), architecture.receptive_field
    if field is None:
        stages = "An adaptation before a network" if architecture.kind == "adapted" else "No network"
        holds = f"{stages}: {architecture.summary}, {count:,} values, {channels} ({settings})"
        return f"{holds}; SHA-256 of the values {refiner.digest()}."
    holds = f"{count:,} parameters, {channels}, receptive field {field}x{field} ({settings})"
    return f"{holds}; SHA-256 of the weights {refiner.digest()}."


def _training(training: Mapping[str, Any]) -> str:
    configuration = training.get("configuration")
    if not configuration:
        return "Unknown: the refiner file records no training configuration."
    if "real_images" in training:
        lines = [f"Nothing was trained. The statistics are of {training['real_images']:,} real images:", ""]
        return "\n".join([*lines, *(f"- `{name}`: {value}" for name, value in configuration.items())])
    # List only the settings that differ from their defaults.
    defaults = TrainingConfiguration().model_dump(mode="json")
    changed = {name: value for name, value in configuration.items() if defaults.get(name) != value}
    precision = training.get("precision", "?")
    weights = kept_step(training) or "an unknown step"
    lines = [f"The weights are of {weights}, trained in {precision}. These settings differ from the defaults:", ""]
    return "\n".join([*lines, *(f"- `{name}`: {value}" for name, value in changed.items())])


def _data(data: Sequence[TrainingData] | None) -> str:
    if data is None:
        return "Unknown: the card was made from a refiner file only, without its run."
    lines = ["| | data set | images | licence |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(part.replace('|', '&#124;') for part in each)} |" for each in data]
    limits = "The weights were derived from these images: the limits of their licences apply to the weights, too."
    return "\n".join([*lines, "", limits])


def _facts(path: Path) -> tuple[str, str]:
    """Return the number of images and the licence of a data set in words."""
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
    if (names := verdict.get("data")) is not None:
        note += f" The renders were {names['synthetic']}, the real images {names['real']}."
    # Verdicts of older versions have no notes.
    return "\n".join([*lines, "", note, *(f"\n{text}" for text in verdict.get("notes", ()))])


def _interval(values: Mapping[str, float | None] | None) -> str:
    if values is None:
        return ""
    if values["low"] is None or values["high"] is None:
        return f"{values['mean']:.3g}"
    return f"{values['mean']:.3g} [{values['low']:.3g}, {values['high']:.3g}]"
