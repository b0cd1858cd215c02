"""Checks of the arguments of an evaluation: which of renders, refined and real images are swapped or the same."""

from collections.abc import Sequence, Set
from pathlib import Path

from refiner.core.errors import UsageError, WrongInputError
from refiner.data.drift.table import DRIFT_FILE
from refiner.data.formats.registry import open_dataset
from refiner.evaluation.pairs.labels import is_array
from refiner.evaluation.samples import Sample


def check_apart_from_real(synthetic: Path, raw: Sample, real: Path, real_sample: Sample) -> None:
    """Refuse renders and real images that are the same pixels.

    Raises:
        UsageError: at least half of the images of the smaller sample are in the other.
    """
    renders, photographs = ({image.numpy().tobytes() for image in some.images} for some in (raw, real_sample))
    if 2 * len(renders & photographs) >= min(len(renders), len(photographs)):
        raise UsageError(
            f"--synthetic {synthetic} and --real {real} hold the same images, pixel by pixel; name the renders and the "
            "real images"
        )


def suspicion(raw: Sample, real_sample: Sample) -> str | None:
    """Return a warning if the labels suggest that renders and real images are swapped."""
    labelled, others = (
        {name for row in some.labels for name, value in row.items() if is_array(name, value)}
        for some in (raw, real_sample)
    )
    if labelled or not others:
        return None
    return (
        f"The real images have labels ({', '.join(sorted(others)[:3])}), and the renders have none: check that "
        "--synthetic and --real are not swapped."
    )


def check_marks(synthetic: Path, refined: Path, real: Path) -> None:
    """Refuse renders or real images that refining wrote, beside "refined" images that it did not write."""
    if _is_refined(refined):
        return
    for option, path in (("--synthetic", synthetic), ("--real", real)):
        if _is_refined(path):
            raise UsageError(
                f"{option} {path} holds drift scores, which refiner refine writes with refined images, and --refined "
                f"{refined} holds none; {option} and --refined are swapped"
            )


def _is_refined(path: Path) -> bool:
    if path.is_dir():
        return (path / DRIFT_FILE).is_file()
    dataset = open_dataset(path)
    return "drift_score" in getattr(dataset, "label_names", ())


def nothing_in_common(synthetic: Path, names: Sequence[str], refined: Path, found: Set[str], real: Path) -> UsageError:
    """Return the error for renders and refined images that share no name; it tells which arguments are swapped."""
    known = set(open_dataset(real).ids)
    if found & known:
        return UsageError(
            f"--refined {refined} has the image names of --real {real}, and none of --synthetic {synthetic}; "
            "--synthetic and --real are swapped"
        )
    if known.intersection(names):
        return UsageError(
            f"--real {real} has the image names of --synthetic {synthetic}, and --refined {refined} has none of them; "
            "--refined and --real are swapped"
        )
    return WrongInputError(
        f"{refined} has no image under the name of a render, such as {names[0]}; it must hold the refined images under "
        "the names of the renders, as refiner refine writes them"
    )
