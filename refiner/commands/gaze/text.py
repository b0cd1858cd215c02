"""Result of ``refiner gaze evaluate``, as text and as plain values."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refiner.commands.shared.reporting import plain_values

if TYPE_CHECKING:
    from refiner.gaze.evaluation import Accuracy, EstimatorTest


def evaluation_metrics(
    test: "EstimatorTest", paths: Sequence[Path], digests: Sequence[str], data: Path
) -> dict[str, Any]:
    """Return a test as plain values for JSON; unknown bounds are None."""
    metrics: dict[str, Any] = plain_values(
        {
            "data": str(data),
            "images": test.images,
            "unlabelled": test.unlabelled,
            "rejected": test.rejected,
            "error_degrees": test.error._asdict(),
            "clusters": {"count": test.clusters.size, "by": test.clusters.column, "scope": test.clusters.scope},
            "training_mean_error_degrees": test.training_mean,
            "test_mean_error_degrees": test.test_mean,
            "estimators": [
                {"path": str(path), "digest": digest, **asdict(accuracy), "error": accuracy.error._asdict()}
                for path, digest, accuracy in zip(paths, digests, test.estimators, strict=True)
            ],
            "ensemble": test.ensemble and {**asdict(test.ensemble), "error": test.ensemble.error._asdict()},
            "tables": {column: [asdict(row) for row in rows] for column, rows in test.tables.items()},
        }
    )
    return metrics


def evaluation_lines(test: "EstimatorTest", paths: Sequence[Path]) -> list[str]:
    """Return a test as lines of text."""
    # A block of lines for each estimator.
    lines: list[str] = []
    for path, accuracy in zip(paths, test.estimators, strict=True):
        lines += [str(path), *(f"  {name:<38} {value}" for name, value in _accuracy_lines(accuracy)), ""]
    if test.ensemble is not None:
        name = f"ensemble of {len(paths)} estimators"
        lines += [name, *(f"  {name:<38} {value}" for name, value in _accuracy_lines(test.ensemble)), ""]
    elif len(paths) > 1:
        over = f"{len(paths)} estimators and {test.clusters}"
        lines += [f"{'mean error over estimators':<40} {test.error} degrees (95 % over {over})"]
    # The baselines, which need no image.
    lines += [
        f"{'predicting the mean of training labels':<40} {test.training_mean:.2f} degrees",
        f"{'predicting the mean of test labels':<40} {test.test_mean:.2f} degrees",
        f"{'tested on':<40} {test.images} images; 95 % intervals over {test.clusters}",
    ]
    # A table for each label column.
    for column, rows in test.tables.items():
        width = max(len(column), *(len(row.value) for row in rows))
        lines += ["", f"{column:<{width}}  images  error  bias removed"]
        lines += [f"{row.value:<{width}}  {row.images:>6}  {row.error:5.2f}  {row.unbiased:12.2f}" for row in rows]
    return lines


def _accuracy_lines(accuracy: "Accuracy") -> list[tuple[str, str]]:
    shares = ", ".join(f"{100 * share:.1f} %" for share in accuracy.within.values())
    correlation = ["none" if value is None else f"{value:.3f}" for value in accuracy.correlation]
    return [
        ("mean error", f"{accuracy.error} degrees"),
        ("median error", f"{accuracy.median:.2f} degrees"),
        (f"within {' / '.join(accuracy.within)} degrees", shares),
        ("mean error, bias removed", f"{accuracy.unbiased:.2f} degrees"),
        ("bias of pitch, yaw", f"{accuracy.bias[0]:+.2f}, {accuracy.bias[1]:+.2f} degrees"),
        ("correlation of pitch, yaw", ", ".join(correlation)),
    ]
