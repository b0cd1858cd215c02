"""Choice of the labels on which refined renders are tested: those that renders and labelled real images share."""

from collections.abc import Callable, Sequence
from typing import Literal

from refiner.core.errors import WrongInputError
from refiner.evaluation.heads.classes import share_classes
from refiner.evaluation.heads.head import MAX_SIDE, Labelled, Shared, UnfitError
from refiner.evaluation.heads.masks import share_masks
from refiner.evaluation.heads.points import share_points
from refiner.evaluation.samples import Original

Task = Literal["auto", "gaze", "points", "mask", "classes"]


def head_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size, (height, width), at which a head sees images of a size."""
    factor = min(1.0, MAX_SIDE / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def find_shared(
    renders: Labelled,
    refined: Sequence[Original],
    real: Labelled,
    *,
    task: Task,
    size: tuple[int, int],
    points: str | None = None,
    reasons: Sequence[str] = (),
) -> Shared:
    """Return the labels that both sides share: points before masks before classes before the masks of boxes.

    Args:
        renders, real: the labels of both sides.
        refined: the labels of the refined images.
        task: kind of labels; ``auto`` takes the first that fits.
        size: (height, width) of the renders.
        points: name of a label of points; None takes the first that fits.
        reasons: clauses that say why labels of other kinds do not fit, for the message.

    Raises:
        WrongInputError: no labels fit; the message says why, with numbers.
    """
    work = head_size(size)
    kinds: tuple[tuple[str, Callable[[], Shared]], ...] = (
        ("points", lambda: share_points(renders, real, size, work, label=points)),
        ("mask", lambda: share_masks(renders, refined, real, work, boxes=False)),
        ("classes", lambda: share_classes(renders, refined, real)),
        ("mask", lambda: share_masks(renders, refined, real, work, boxes=True)),
    )
    found = list(reasons)
    for kind, share in kinds:
        if task not in ("auto", kind):
            continue
        try:
            return share()
        except UnfitError as error:
            found.append(f"{kind}: {error}")
    listed = "; ".join(dict.fromkeys(found))
    raise WrongInputError(f"the labels of {real.where} cannot test renders such as {renders.where} ({listed})")
