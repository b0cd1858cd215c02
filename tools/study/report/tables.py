"""Tables of results, in Markdown."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from refiner.metrics.intervals import Interval
from tools.study.report.costs import ADAPTING, TRAINING, common_processor, median_and_range, seconds
from tools.study.report.outcomes import Choice, Outcome, Results, metrics
from tools.study.report.proxies import Proxy, measured_proxies

NOT_RUN = "not run"


def all_tables(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Yield name and text of each table of a study."""
    for protocol in outcome.protocols:
        name = f"{outcome.name} {protocol}"
        yield name, error_table(outcome, protocol)
        yield f"{name} differences", difference_table(outcome, protocol)
        yield f"{name} scores", score_table(outcome, protocol)
        yield f"{name} cost", cost_table(outcome, protocol)
        if choices := list(outcome.choices(protocol)):
            yield f"{name} checkpoints", choice_table(choices)
        if proxies := list(measured_proxies(outcome, protocol)):
            yield f"{name} proxies", proxy_table(proxies)
        if outcome.slices:
            yield f"{name} slices", slice_table(outcome, protocol)
        for part in outcome.slices:
            yield f"{name} {part} differences", difference_table(outcome, protocol, part)
        if any(outcome.curves(protocol)):
            yield f"{name} real count", real_count_table(outcome, protocol)


def error_table(outcome: Outcome, protocol: str) -> str:
    """Return the errors of all variants, on all test images."""
    head = ["variant", "seeds", "error, °", "median, °", "within 5°", "within 10°", "bias removed, °"]
    head += ["bias pitch / yaw, °", "correlation pitch / yaw"]
    rows = []
    for variant in outcome.variants_of(protocol):
        results = outcome.of(variant, protocol)
        row = [_title(outcome, variant), str(len(results) or NOT_RUN)]
        if results:
            row += [
                str(outcome.interval(variant, protocol)),
                f"{_mean(results, lambda result: result['median']):.2f}",
                f"{_mean(results, lambda result: result['within']['5']):.0%}",
                f"{_mean(results, lambda result: result['within']['10']):.0%}",
                _unbiased(outcome, variant, protocol),
                _pair(results, lambda result: result["bias"], "{:+.1f}"),
                _pair(results, lambda result: result["correlation"], "{:.2f}"),
            ]
        rows.append(row)
    for key, title in (
        ("training_mean_error", "mean of the training labels"),
        ("test_mean_error", "mean of the test labels"),
    ):
        value = outcome.baseline(protocol, key)
        rows.append([f"constant prediction: {title}", "", NOT_RUN if value is None else f"{value:.2f}"])
    return markdown(head, rows)


def difference_table(outcome: Outcome, protocol: str, part: str | None = None) -> str:
    """Return differences between variants, with and without the bias, on all test images or a slice."""
    head = (
        "variant",
        "against",
        "pairs",
        "difference, °",
        "share",
        "effect",
        "bias removed: difference, °",
        "effect",
    )
    rows = []
    for variant in outcome.variants_of(protocol):
        for other in outcome.variants[variant]["against"]:
            if other == variant or other not in outcome.variants_of(protocol):
                continue
            difference = outcome.difference(variant, other, protocol, part)
            unbiased = outcome.difference(variant, other, protocol, part, unbiased=True)
            if difference is None or unbiased is None:
                continue  # the table of errors lists variants that were not run
            cells = [difference.pairs, str(difference.degrees), f"{difference.share:+.0%}", difference.effect]
            cells += [str(unbiased.degrees), unbiased.effect]
            rows.append([f"`{variant}`", f"`{other}`", *cells])
    return markdown(head, rows)


def slice_table(outcome: Outcome, protocol: str) -> str:
    """Return errors and correlations on each slice of the test images; if cross-validated, also without the bias."""
    crossed = outcome.cross_validated(protocol)
    columns = ["error, °", *(["bias removed, °"] if crossed else []), "correlation pitch / yaw"]
    head = ["variant", *(f"{part}: {what}" for part in outcome.slices for what in columns)]
    rows = []
    for variant in filter(lambda name: outcome.of(name, protocol), outcome.variants_of(protocol)):
        row = [f"`{variant}`"]
        for part in outcome.slices:
            row.append(str(outcome.interval(variant, protocol, part) or NOT_RUN))
            if crossed:
                row.append(str(outcome.interval(variant, protocol, part, unbiased=True) or NOT_RUN))
            results = {seed: found for seed, r in outcome.of(variant, protocol).items() if (found := metrics(r, part))}
            row += [_pair(results, lambda result: result["correlation"], "{:.2f}") if results else ""]
        rows.append(row)
    means = [outcome.baseline(protocol, "test_mean_error", part) for part in outcome.slices]
    blank = [""] * (len(columns) - 1)
    cells = [cell for mean in means for cell in (NOT_RUN if mean is None else f"{mean:.2f}", *blank)]
    return markdown(head, [*rows, ["constant prediction: mean of the test labels", *cells]])


def score_table(outcome: Outcome, protocol: str) -> str:
    """Return the label-free scores of adapted renders, and the errors."""
    head = ["variant", "C2ST accuracy", "pupil drift x / y, px", "pupil drift, length, px"]
    head += ["distance to real images", "disagreement of seeds, °", "error, °"]
    rows = []
    for variant in outcome.variants_of(protocol):
        results = {seed: found["scores"] for seed, found in outcome.of(variant, protocol).items() if found["scores"]}
        if not results:
            continue  # not run, or without renders
        row = [f"`{variant}`", f"{_mean(results, lambda scores: scores['c2st_accuracy']):.0%}"]
        row.append(_pair(results, lambda scores: scores["drift"] or (None, None), "{:+.2f}"))
        row.append(_number(_mean(results, lambda scores: scores["drift_distance"])))
        row.append(_number(_mean(results, lambda scores: scores.get("distance")), "{:.0f}"))
        row.append(_number(outcome.disagreement(variant, protocol)))
        rows.append([*row, str(outcome.interval(variant, protocol))])
    return markdown(head, rows)


def cost_table(outcome: Outcome, protocol: str) -> str:
    """Return the seconds of one core for one result; variants share renders, refiners and scores."""
    processor = common_processor(outcome, protocol)
    head = [f"variant, on {processor}" if processor else "variant", "adaptation, s", "estimators, s", "all stages, s"]
    rows = []
    for variant in outcome.variants_of(protocol):
        if outcome.of(variant, protocol):
            parts = [seconds(outcome, variant, protocol, stages) for stages in (ADAPTING, (TRAINING,), None)]
            rows.append([f"`{variant}`", *map(median_and_range, parts)])
    return markdown(head, rows)


def proxy_table(proxies: Sequence[Proxy]) -> str:
    """Return the rank correlation of each score with the error, over variants."""
    head = ("lower is better", "variants", "rank correlation with the error")
    return markdown(head, [[name, str(variants), str(value)] for name, variants, value in proxies])


def choice_table(choices: Sequence[Choice]) -> str:
    """Return the checkpoint that the score chooses, and the best one on real labels."""
    head = ("seed", "chosen, steps", "its error, °", "best, steps", "its error, °", "above the best")
    rows = []
    for one in choices:
        row = [str(one.seed), str(one.chosen), f"{one.error:.2f}", str(one.best), f"{one.least:.2f}"]
        rows.append([*row, f"{one.error / one.least - 1:+.0%}"])
    return markdown(head, rows)


def real_count_table(outcome: Outcome, protocol: str) -> str:
    """Return the error by the number of real images that the variant knows."""
    head = ("real images", "variant", "seeds", "error, °")
    rows = []
    for names in outcome.curves(protocol):
        for name in names:
            results = outcome.of(name, protocol)
            known = outcome.variants[name]["real_count"] or max(
                (r["real_count"] for r in results.values()), default="all"
            )
            interval = str(outcome.interval(name, protocol) or NOT_RUN)
            rows.append([str(known), f"`{name}`", str(len(results)), interval])
    return markdown(head, rows)


def probe_table(probe: dict[str, Any]) -> str:
    """Return the result of ``tools.measure.fgsm``: errors of each variant's estimators on perturbed images."""
    levels = [str(level) for level in probe["levels"]]
    rows = [
        [f"`{variant}`", *(str(Interval(**errors[level])) for level in levels)]
        for variant, errors in probe["errors"].items()
    ]
    return markdown(["variant", *(f"{level} grey levels, °" for level in levels)], rows)


def _title(outcome: Outcome, variant: str) -> str:
    about = outcome.variants[variant]["about"]
    return f"`{variant}`: {about}" if about else f"`{variant}`"


def _unbiased(outcome: Outcome, variant: str, protocol: str) -> str:
    """Return the error without the bias, with its interval if it is over seeds and groups."""
    interval = outcome.interval(variant, protocol, unbiased=True)
    if interval is None:
        return NOT_RUN
    return str(interval) if outcome.cross_validated(protocol) else f"{interval.mean:.2f}"


def _mean(results: Results, value: Callable[[dict[str, Any]], Any]) -> Any:
    """Return the mean over seeds; None if a seed has no value."""
    values = [value(result) for result in results.values()]
    return None if None in values else float(np.mean(values))


def _number(value: float | None, form: str = "{:.2f}") -> str:
    return "–" if value is None else form.format(value)


def _pair(results: Results, values: Callable[[dict[str, Any]], Sequence[float | None]], form: str) -> str:
    """Return two means over seeds."""
    means = [_mean(results, lambda result, place=place: values(result)[place]) for place in (0, 1)]  # type: ignore[misc]
    return " / ".join(_number(mean, form) for mean in means)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; short rows are filled with empty cells."""
    filled = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    lines = [head, ["---"] * len(head), *filled]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
