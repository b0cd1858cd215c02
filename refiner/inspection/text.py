"""Format facts and findings as lines of plain text, for a terminal of about 100 columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from refiner.images.arrays import EQUALIZED_BELOW
from refiner.inspection.facts import Appearance, DatasetFacts, Finding
from refiner.inspection.fit import histogram_gap, iris_shares
from refiner.inspection.irises import IrisScale
from refiner.inspection.labels import LabelFacts, Range, Values
from refiner.inspection.objects import object_lines
from refiner.inspection.runs import RefinerFacts, RunFacts
from refiner.models.architecture import AdaptedArchitecture, settings_in_words
from refiner.models.files.refiner_file import kept_step

_BAR = 24  # characters of the longest bar
_BINS = 12  # at most
_WIDTHS = (0.5, 1, 2, 5, 10, 15, 20, 30)  # degrees of a bin

_INDENT = "  "


def dataset_lines(facts: DatasetFacts, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the facts about a data set, then the findings."""
    yield f"{facts.path}: data set ({facts.format})"
    inspected = f"{facts.sampled:,} inspected, spread evenly; --sample 0 inspects all"
    yield _row("images", f"{facts.images:,}" + (f" ({inspected})" if facts.sampled < facts.images else ""))
    yield _row("size", f"{_counts(facts.sizes)} (height x width)")
    yield _row("depth", f"{_counts(facts.depths)}, {_counts(facts.channels)}")
    appearance = facts.appearance
    levels = f"{facts.lowest:.2f} to {facts.highest:.2f}, mean {appearance.mean_level:.2f} (0 black, 1 white)"
    yield _row("levels", levels)
    yield _row("equalised", _equalised(appearance))
    yield _row("iris", iris_text(appearance.outline or appearance.iris, appearance.size[1]))
    yield _row("subjects", _subjects(facts))
    yield _row("duplicates", f"{facts.duplicates.count:,}" if facts.duplicates.count else "none")
    yield _row("unreadable", _rejects(facts))
    yield ""
    # Labels, with a histogram of the gaze.
    yield "labels" if facts.labels or facts.objects or facts.label_formats else "labels: none"
    if facts.label_formats:
        yield _row("formats", "; ".join(facts.label_formats))
    for name, text in object_lines(facts.objects, facts.readable) if facts.objects else ():
        yield _row(name, text)
    for label in facts.labels.values():
        yield _row(label.name, label_text(label, facts.readable), width=max(13, *(len(n) for n in facts.labels)))
    if len(facts.angles.get("gaze", ())):
        yield ""
        yield from histogram_lines(facts.angles["gaze"])
    for sign in (sign for sign in facts.signs if sign.images == "all"):
        place = "pupil label" if sign.source == "pupil" else "iris found in the picture"
        yield (
            f"{sign.angle} against {sign.axis} of the {place}: correlation {sign.correlation:+.2f} "
            f"in {sign.count:,} images (should be negative)"
        )
    yield ""
    yield from finding_lines(findings, nothing="no problems found", heading="problems")


def fit_lines(first: Appearance, second: Appearance, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a comparison of renders and real images, then the findings about their fit."""
    yield "fit of renders and real images"
    yield _row("size", " against ".join("{}x{}".format(*appearance.size) for appearance in (first, second)))
    yield _row("equalised", " against ".join("yes" if appearance.equalized else "no" for appearance in (first, second)))
    yield _row("histogram", f"distance {histogram_gap(first, second):.2f} (0 equal, 1 disjoint)")
    levels = " against ".join(f"{appearance.mean_level:.2f}" for appearance in (first, second))
    yield _row("mean level", levels)
    shares = iris_shares(first, second)
    iris = f"{shares[0]:.1%} against {shares[1]:.1%} of the width" if shares else "cannot be compared"
    yield _row("iris", iris)
    yield ""
    yield from finding_lines(findings, nothing="the data sets fit", heading="problems of fit")


def run_lines(facts: RunFacts) -> Iterator[str]:
    """Yield the facts about a run, then the findings."""
    yield f"{facts.path}: run"
    share = facts.steps_done / max(facts.steps, 1)
    done = f"{facts.steps_done:,} of {facts.steps:,} ({share:.0%}), {facts.pretraining_steps:,} pre-training"
    yield _row("steps", done if facts.steps else "none: no network is trained")
    yield _row("started", facts.started or "unknown")
    yield _row("last log", facts.updated or "none")
    environment = facts.training_environment
    if environment:
        processor = _section(environment, "processor").get("name", "unknown")
        chosen = [str(environment[name]) for name in ("device", "precision", "backend") if name in environment]
        yield _row("hardware", f"{processor}; {', '.join(chosen)}; {environment.get('threads', '?')} threads")
        versions = _section(environment, "versions")
        shown = [f"{name} {versions[name]}" for name in ("simgan-refiner", "torch") if versions.get(name)]
        yield _row("versions", ", ".join(shown) or "unknown")
    yield _row("data", "; ".join(f"{name} {place}" for name, place in facts.data.items()))
    yield _row("seed", str(facts.seed))
    yield _row("checkpoints", ", ".join(facts.checkpoints) or "none")
    yield _row("samples", f"{facts.samples:,} sheets" if facts.samples else "none")
    yield ""
    # Metrics, the refiner file and warnings.
    if facts.metrics:
        yield "last metrics"
    for name, value in facts.metrics.items():
        yield _row(name, f"{value:.4g}" if isinstance(value, float) else str(value), width=22)
    if facts.refiner:
        yield ""
        yield from refiner_lines(facts.refiner)
    yield ""
    if facts.warnings:
        yield "warnings of the monitors"
        yield from (f"{_INDENT}{warning}" for warning in facts.warnings)
    yield from finding_lines(facts.findings, nothing="no problems found", heading="problems")


def refiner_lines(facts: RefinerFacts) -> Iterator[str]:
    """Yield the facts about a refiner file."""
    yield f"{facts.path}: refiner"
    yield _row("architecture", settings_in_words(facts.architecture))
    yield _row("parameters", f"{facts.parameters:,} ({facts.file_bytes:,} bytes)")
    side = facts.receptive_field
    yield _row("view", f"{side}x{side} pixels around each (receptive field)" if side else "the whole image")
    yield _row("value range", "{} to {}".format(*facts.value_range))
    configuration = _section(facts.training, "configuration")
    kind = facts.architecture.get("kind")
    if kind is not None:
        yield _row("holds", facts.summary)
    if kind in (None, AdaptedArchitecture.kind):
        yield _row("weights", f"of {kept_step(facts.training) or 'an unknown step'}")
    shown: dict[str, Any] = {name: facts.training[name] for name in ("precision",) if name in facts.training}
    shown |= {name: configuration[name] for name in ("seed", "size", "batch_size") if name in configuration}
    yield _row("training", ", ".join(f"{name} {_plain(value)}" for name, value in shown.items()) or "not recorded")
    yield _row("digest", facts.digest)


def finding_lines(findings: Sequence[Finding], *, nothing: str, heading: str) -> Iterator[str]:
    """Yield each finding with its remedy; only ``nothing`` if there are no findings."""
    if not findings:
        yield nothing
        return
    yield f"{heading} ({len(findings)})"
    for number, finding in enumerate(findings, 1):
        yield f"{number:>3}. {finding.message}"
        yield f"     -> {finding.remedy}"


def label_text(label: LabelFacts, of: int) -> str:
    """Return count, unit and ranges of one label, with angles in degrees."""
    count = f"{label.count:,} of {of:,}"
    if not label.ranges:
        many = "1,000 or more" if label.values >= 1000 else f"{label.values:,}"
        return f"{count}: {many} different"
    angles = label.unit == "rad"
    unit = " degrees" if angles else f" {label.unit}" if label.unit else ""
    points = f"{label.shape.partition('x')[0]} points, " if "x" in label.shape else ""
    parts = "; ".join(_range(part, factor=180 / np.pi if angles else 1) for part in label.ranges)
    return f"{count}: {points}{parts}{unit}"


def _range(part: Range, *, factor: float) -> str:
    name = f"{part.name} " if part.name else ""
    low, high, mean, deviation = (
        _number(value * factor) for value in (part.lowest, part.highest, part.mean, part.deviation)
    )
    return f"{name}{low} to {high}, mean {mean}, sd {deviation}"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1000 and value % 1 else f"{value:,.0f}"


def histogram_lines(gaze: Values) -> Iterator[str]:
    """Yield histograms of pitch and yaw in degrees, side by side with the same bins.

    Args:
        gaze: (N, 2), pitch and yaw in radians.
    """
    degrees = np.degrees(gaze)
    low, high = float(degrees.min()), float(degrees.max())
    width = next((width for width in _WIDTHS if (high - low) / width <= _BINS - 1), (high - low) / (_BINS - 2))
    # Take the narrowest bins that cover the range in few lines.
    edges = np.arange(np.floor(low / width), np.floor(high / width) + 2) * width
    counts = [np.histogram(degrees[:, column], edges)[0] for column in (0, 1)]
    longest = max(1, *(int(part.max()) for part in counts))
    yield f"{'gaze, degrees':<18}{'pitch':<{_BAR + 9}}yaw"
    for number in range(len(edges) - 1):
        bars = [f"{'#' * int(np.ceil(_BAR * part[number] / longest)):<{_BAR}} {part[number]:<8,}" for part in counts]
        yield f"{edges[number]:>7g} to {edges[number + 1]:<7g}{''.join(bars)}".rstrip()


def iris_text(iris: IrisScale | None, width: int) -> str:
    """Return the size of the iris, and how reliable it is."""
    if iris is None:
        return "not measured: the images are too few or too small"
    if iris.source == "iris_outline":
        return f"{iris.diameter * width:.1f} px across, {iris.diameter:.1%} of the width (from iris_outline)"
    if not iris.reliable:
        return f"unknown: the estimates are unreliable (spread {iris.spread:.0%}, or at the limit of the search)"
    size = f"{iris.diameter * width:.1f} px across, {iris.diameter:.1%} of the width"
    return f"about {size} (estimated from {iris.count} images, good to 10 %)"


def _row(name: str, text: str, *, width: int = 13) -> str:
    return f"{_INDENT}{name:<{width}} {text}"


def _counts(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    shown = ", ".join(f"{value} ({count:,})" for value, count in list(counts.items())[:4])
    return shown + (f" and {len(counts) - 4} more" if len(counts) > 4 else "")


def _equalised(appearance: Appearance) -> str:
    word = "yes" if appearance.equalized else "no"
    moved = f"equalising would move levels by {appearance.equalization:.1%}"
    return f"{word} ({moved}; below {EQUALIZED_BELOW:.0%} counts as equalised)"


def _subjects(facts: DatasetFacts) -> str:
    if not facts.subjects:
        return "unknown"
    counts = list(facts.subjects.values())
    missing = facts.readable - sum(counts)
    each = f"{min(counts):,} to {max(counts):,} images each" if len(counts) > 1 else f"{counts[0]:,} images"
    return f"{len(counts):,} ({each})" + (f", {missing:,} images without a subject" if missing else "")


def _rejects(facts: DatasetFacts) -> str:
    if not facts.rejected:
        return "none"
    reasons = "; ".join(f"{reject.count:,} x {reject.reason}" for reject in facts.rejected[:5])
    more = f"; and {len(facts.rejected) - 5} more reasons" if len(facts.rejected) > 5 else ""
    return f"{sum(reject.count for reject in facts.rejected):,}: {reasons}{more}"


def _plain(value: Any) -> str:
    return "x".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the mapping under a name; empty if a damaged file holds something else there."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}
