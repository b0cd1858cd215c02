"""Builder of albumentations transforms from the names and arguments in the configuration, with clear errors."""

import difflib
import inspect
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from refiner.config.sections import AugmentationStep, augmentation_steps
from refiner.core.errors import ConfigurationError

COMPOSITIONS = ("OneOf", "RandomOrder", "Sequential", "SomeOf")
"""Transforms that combine others, given in the argument ``transforms`` as a list of the same form."""

MOVING = ("Affine", "HorizontalFlip", "Rotate")
"""Transforms that move the image and that labels follow."""

_STAYING = ("CoarseDropout", "ConstrainedCoarseDropout", "Erasing", "GridDropout", "NoOp", "PixelDropout", "XYMasking")
_TURNED = "it turns eyes upside down or on their side, which real images do not show"
_BENT = "it bends the image, and the gaze of a bent eye is not known"
_REFUSED = {
    **dict.fromkeys(("VerticalFlip", "Transpose", "D4", "SquareSymmetry", "RandomRotate90"), _TURNED),
    **dict.fromkeys(("ElasticTransform", "GridDistortion", "OpticalDistortion", "PiecewiseAffine"), _BENT),
    **dict.fromkeys(("ThinPlateSpline", "GridElasticDeform", "RandomGridShuffle"), _BENT),
    "Perspective": "it moves the camera, which changes the gaze by an unknown angle",
}
"""Reasons to refuse a transform of labelled images; for any other, the effect on labels is not implemented."""


def load_albumentations() -> Any:
    """Import albumentations on first use, without its check for updates over the network; the import takes seconds."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def numbered(steps: Any, key: str) -> Iterator[tuple[AugmentationStep, str]]:
    """Check a list of steps and yield each with its key, such as ``augmentation.synthetic[0]``.

    Raises:
        ConfigurationError: the list or a step is malformed.
    """
    try:
        checked = augmentation_steps(steps, key)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    for number, step in enumerate(checked):
        yield step, f"{key}[{number}]"


def build(step: AugmentationStep, key: str, library: Any) -> Any:
    """Build one transform, or a composition of transforms.

    Args:
        step: ``{name: {argument: value}}``.
        key: key of the step in the configuration, for messages.
        library: the module from :func:`load_albumentations`.

    Raises:
        ConfigurationError: albumentations does not know the name, an argument or a value.
    """
    # Check the names, and suggest the nearest known one.
    ((name, arguments),) = step.items()
    known = _names(library)
    if name not in known:
        raise ConfigurationError(f"{key}: albumentations has no transform {name}; {_nearest(name, known)}")
    make, where, arguments = getattr(library, name), f"{key}.{name}", dict(arguments)
    accepted = [argument for argument in inspect.signature(make.__init__).parameters if argument != "self"]
    for argument in arguments:
        if argument not in accepted:
            raise ConfigurationError(f"{where} has no argument {argument}; {_nearest(argument, accepted)}")
    # Build the transforms inside a composition first.
    if name in COMPOSITIONS:
        if not arguments.get("transforms"):
            raise ConfigurationError(f"{where} has no transforms; give it a list of them")
        inner = numbered(arguments["transforms"], f"{where}.transforms")
        arguments["transforms"] = [build(child, place, library) for child, place in inner]
    # Build the transform; its own checks become errors that name the argument.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations warns when it replaces a value by a default
            return make(**arguments)
    except (ValueError, TypeError, ZeroDivisionError, Warning) as error:
        raise ConfigurationError(f"{where}{_reason(error)}") from error


def _names(library: Any) -> list[str]:
    """Names of the image transforms that albumentations exports, and of the compositions."""
    leaves = (
        name
        for name, value in vars(library).items()
        if inspect.isclass(value)
        and issubclass(value, library.BasicTransform)
        and value not in (library.BasicTransform, library.ImageOnlyTransform, library.DualTransform)
    )
    return sorted([*leaves, *COMPOSITIONS])


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _reason(error: Exception) -> str:
    """Describe the faulty argument; the text follows the name of the transform."""
    if isinstance(error.__cause__, ValidationError):
        problem = error.__cause__.errors()[0]
        argument = "".join(f".{part}" for part in problem["loc"][:1])
        message = str(problem["msg"]).removeprefix("Value error, ")
        if problem["type"] == "missing":
            return f" needs the argument {argument[1:]}"
        if not argument:  # a rule for several arguments
            return f": {message}"
        return f"{argument} is {problem['input']!r}: {message[:1].lower()}{message[1:]}"
    return f": {' '.join(str(error).split())[:200]}"


def leaves(composition: Any, key: str) -> Iterator[tuple[Any, str]]:
    """Yield each transform that is not a composition, with its key and name."""
    for number, transform in enumerate(composition.transforms):
        where = f"{key}[{number}].{type(transform).__name__}"
        if type(transform).__name__ in COMPOSITIONS:  # ColorJitter has an attribute `transforms`, too
            yield from leaves(transform, f"{where}.transforms")
        else:
            yield transform, where


def refuse_lost_labels(transform: Any, where: str, library: Any) -> None:
    """Refuse a transform that labels cannot follow.

    Raises:
        ConfigurationError: the transform moves the image in a way that labels cannot follow.
    """
    name = type(transform).__name__
    if not isinstance(transform, library.ImageOnlyTransform) and name not in (*MOVING, *_STAYING):
        reason = _REFUSED.get(name, "its effect on the labels is not known")
        raise ConfigurationError(
            f"{where} cannot be used on labelled images: {reason}; transforms that labels follow: {', '.join(MOVING)}"
        )
