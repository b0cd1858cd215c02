"""The results of a study in one file of JSON lines, ``results/STUDY.jsonl``.

Each line is an object whose ``kind`` says what it is:

- ``study``, the first line: the variants and the designs that current results must have.
- ``renderer``: the ranges that renders were drawn from, once for all results that share them, by ``digest``.
- ``result``: metrics, scores, seconds and settings of one variant, seed and protocol.

The metrics of a result, and of each slice, have ``groups``: for each tested day or person its number of images, its
mean error, and its mean error without the bias over all tested images (of the slice). Results of the first studies lack
the last, and have no groups of slices.

In memory a result holds its renderer's ranges in ``settings.synthetic.parameters``; in the file, their digest.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refiner.core.errors import DataError
from refiner.core.files import write_text

FORMAT_VERSION = 2

SUFFIX = ".jsonl"

Key = tuple[str, int, str]
"""Variant, seed and protocol of a result."""


@dataclass(frozen=True)
class ResultsFile:
    """Content of a results file.

    Attributes:
        overview: name of the study, its slices and its variants.
        results: all results, by variant, seed and protocol.
    """

    overview: dict[str, Any]
    results: dict[Key, dict[str, Any]]


def result_key(result: dict[str, Any]) -> Key:
    """Return the variant, seed and protocol of a result."""
    return result["variant"], result["seed"], result["protocol"]


def read_results_file(path: Path) -> ResultsFile:
    """Read all results of a study.

    Raises:
        DataError: the file is missing, damaged, or of another release.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        overview, *others = lines
        if overview["format_version"] != FORMAT_VERSION:
            raise DataError(f"{path} was written by another release; run the study again")
        renderers = {line["digest"]: line["parameters"] for line in others if line["kind"] == "renderer"}
        results = [_without_kind(line) for line in others if line["kind"] == "result"]
        for result in results:
            synthetic = result["settings"].get("synthetic")
            if synthetic is not None:
                synthetic["parameters"] = renderers[synthetic["parameters"]]
        return ResultsFile(_without_kind(overview), {result_key(result): result for result in results})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error}); run the study again") from error


def write_results_file(path: Path, overview: dict[str, Any], results: Iterable[dict[str, Any]]) -> None:
    """Write all results of a study, sorted by variant (in the order of the study), protocol and seed."""
    order = {name: number for number, name in enumerate(overview["variants"])}
    ordered = sorted(results, key=lambda one: (order.get(one["variant"], len(order)), one["protocol"], one["seed"]))
    renderers: dict[str, Any] = {}
    lines = []
    for result in ordered:
        settings = dict(result["settings"])
        if "synthetic" in settings:
            parameters = settings["synthetic"]["parameters"]
            digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]
            renderers[digest] = parameters
            settings["synthetic"] = {**settings["synthetic"], "parameters": digest}
        lines.append({"kind": "result", **result, "settings": settings})
    head = {"kind": "study", "format_version": FORMAT_VERSION, **overview}
    shared = [{"kind": "renderer", "digest": digest, "parameters": value} for digest, value in renderers.items()]
    text = "".join(
        json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in [head, *shared, *lines]
    )
    write_text(path, text)


def _without_kind(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("kind", "format_version")}
