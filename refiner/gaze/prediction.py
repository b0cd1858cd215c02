"""Prediction of the gaze of eye patches by a trained estimator."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from refiner.core.devices import resolve_device
from refiner.core.errors import DataError, ImageError, WrongInputError, WrongOutputError
from refiner.core.files import check_apart, remove_file
from refiner.data.formats.registry import open_dataset, warn_of_left_out
from refiner.data.labels.angles import Angles
from refiner.data.labels.records import PAIRS
from refiner.data.labels.tables import LABELS_FILE, REJECTED_COLUMNS, was_written, write_rejected, write_table
from refiner.gaze.data import LabelledPatches, Patches, read_labelled
from refiner.gaze.networks.file import EstimatorFile, load_estimator
from refiner.images.arrays import eye_patch, to_float
from refiner.images.io import Image, read_image

BATCH = 32
"""Images in a batch. The last batch is padded, so that a prediction does not depend on the rest of its batch."""

_TABLE_BLOCK = 1024  # patches that are converted to float at a time, which bounds the memory


class GazePredictor(Protocol):
    """Predictor of the gaze in eye patches: one estimator, or several together; see :class:`GazeEstimator`."""

    size: tuple[int, int]
    head_pose: Any
    equalize: bool

    def __call__(self, images: Tensor | Image | Sequence[Image], head_pose: Any = None) -> Angles:
        """Return pitch and yaw in radians, (N, 2), of images."""

    def predict_patches(self, patches: Patches, head_pose: Angles | None = None) -> Angles:
        """Return pitch and yaw in radians, (N, 2), of patches of this size."""


class GazeEstimator:
    """A trained gaze estimator, ready to use.

    Args:
        file: the loaded estimator file.
        device: ``auto``, ``cpu`` or ``cuda``.

    Attributes:
        size: (height, width) of the patches that the network expects; others are resized.
        head_pose: whether the estimator is conditioned on head pose; ``yaw`` means on its yaw only.
        equalize: whether images are histogram-equalised first.
        metadata: metadata of the file.
        digest: SHA-256 of the weights.

    Examples:
        >>> estimator = GazeEstimator.load("runs/gaze")  # doctest: +SKIP
        >>> pitch, yaw = estimator(read_image(Path("eye.png")))[0]  # doctest: +SKIP
    """

    def __init__(self, file: EstimatorFile, *, device: str = "auto") -> None:
        self.device = resolve_device(device)
        self.network = file.network.to(self.device).to(memory_format=torch.channels_last).eval()
        self.metadata, self.digest = file.metadata, file.digest()
        self.size, self.head_pose = file.network.size, file.network.head_pose
        self.equalize: bool = file.metadata["equalize"]

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto") -> Self:
        """Load an estimator from its file or from the run folder that holds it.

        Raises:
            DataError: the file is missing or damaged.
        """
        return cls(load_estimator(Path(path)), device=device)

    def __call__(self, images: Tensor | Image | Sequence[Image], head_pose: Any = None) -> Angles:
        """Return pitch and yaw in radians, (N, 2), float64.

        Args:
            images: a float tensor (N, 1 or 3, H, W) in [-1, 1]; or one image, uint8 or uint16, (H, W), (H, W, 3) or
                (H, W, 4); or a list of such images. They are resized to the estimator's size.
            head_pose: (N, 2), pitch and yaw in radians; required by an estimator that is conditioned on head pose.

        Raises:
            ValueError: the images are of another type, or the head pose is missing.
            ImageError: the aspect ratio of an image differs too much from that of the estimator.
        """
        # Bring images of any kind to float planes of the estimator's size.
        if isinstance(images, Tensor):
            planes = self._planes(images)
        else:
            listed = [images] if isinstance(images, np.ndarray) else list(images)
            if any(image.dtype not in (np.uint8, np.uint16) for image in listed):
                raise ValueError("an image is neither uint8 nor uint16; pass floats in [-1, 1] as a tensor")
            patches = [eye_patch(v, self.size, equalize=self.equalize, name=f"image {i}") for i, v in enumerate(listed)]
            planes = to_float(torch.from_numpy(np.stack(patches))) if patches else torch.zeros(0, 1, *self.size)
        return self._predict(planes, head_pose)

    def predict_patches(self, patches: Patches, head_pose: Angles | None = None) -> Angles:
        """Return pitch and yaw in radians, (N, 2).

        Args:
            patches: (N, 1, H, W), uint8, results of :func:`refiner.images.arrays.eye_patch`.
            head_pose: (N, 2), pitch and yaw in radians; required by an estimator that is conditioned on head pose.

        Raises:
            ValueError: the head pose is missing.
        """
        blocks = range(0, len(patches), _TABLE_BLOCK)
        parts = [
            self._predict(
                to_float(torch.from_numpy(patches[start : start + _TABLE_BLOCK])),
                None if head_pose is None else head_pose[start : start + _TABLE_BLOCK],
            )
            for start in blocks
        ]
        return np.concatenate(parts) if parts else np.zeros((0, 2))

    def predict(self, patches: LabelledPatches) -> Angles:
        """Return pitch and yaw in radians, (N, 2), of labelled patches that were read at this estimator's size."""
        return self.predict_patches(patches.images, patches.head_pose)

    def _planes(self, images: Tensor) -> Tensor:
        """Return images as (N, 1, H, W) in [-1, 1], resized and equalised as the estimator needs them."""
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
            raise ValueError(f"images are {tuple(images.shape)} {images.dtype}, expected floats (N, 1 or 3, H, W)")
        images = images.detach().float().cpu()
        # Grey images of the right size need no detour over 8 bits.
        if images.shape[1] == 1 and images.shape[2:] == self.size and not self.equalize:
            return images
        # Others go through the same 8-bit patches as stored images.
        levels = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        if not len(levels):
            return torch.zeros(0, 1, *self.size)
        grey = [level[..., 0] if level.shape[2] == 1 else level for level in levels]
        patches = [eye_patch(v, self.size, equalize=self.equalize, name=f"image {i}") for i, v in enumerate(grey)]
        return to_float(torch.from_numpy(np.stack(patches)))

    @torch.inference_mode()
    def _predict(self, planes: Tensor, head_pose: Any) -> Angles:
        """Predict in padded batches of one shape."""
        poses = None
        # Check the head poses first.
        if self.head_pose:
            poses = torch.as_tensor(np.zeros((0, 2)) if head_pose is None else np.asarray(head_pose), dtype=torch.float)
            if poses.shape != (len(planes), 2):
                raise ValueError(
                    f"this estimator needs the head pose of each image; pass head_pose, ({len(planes)}, 2), in radians"
                )
        found = np.zeros((len(planes), 2))
        for start in range(0, len(planes), BATCH):
            # Pad the last batch with zeros, and drop their predictions.
            part = planes[start : start + BATCH]
            extra = BATCH - len(part)
            batch = functional.pad(part, (0, 0, 0, 0, 0, 0, 0, extra))
            pose = None
            if poses is not None:
                pose = functional.pad(poses[start : start + BATCH], (0, 0, 0, extra)).to(self.device)
            angles = self.network(batch.to(self.device, memory_format=torch.channels_last), pose)
            found[start : start + BATCH] = angles[: len(part)].double().cpu().numpy()
        return found


class PredictionSummary(NamedTuple):
    """Counts of a prediction.

    Attributes:
        predicted: number of images in the table.
        rejected: number of images in the table of rejected images.
    """

    predicted: int
    rejected: int


def rejects_path(destination: Path) -> Path:
    """Return the path of the table of rejected images: ``OUT.rejected.csv`` for ``OUT.csv``."""
    return destination.with_suffix(".rejected.csv")


class Predictions(NamedTuple):
    """Predicted gaze of a data set.

    Attributes:
        ids: ids of the usable images.
        gaze: (N, 2), their predicted gaze, pitch and yaw in radians.
        head_pose: (N, 2), their head pose; None if the estimator is not conditioned on it.
        rejected: reason of each unusable image, by id.
    """

    ids: list[str]
    gaze: Angles
    head_pose: Angles | None
    rejected: dict[str, str]


def predict_all(
    estimator: GazePredictor, source: Path, *, report: Callable[[int, int], None] = lambda done, total: None
) -> Predictions:
    """Predict the gaze of every usable image of a data set.

    Args:
        estimator: the estimator. If it is conditioned on head pose, the labels of the data set must have it.
        source: folder or file in any known layout; it needs no other labels.
        report: called with the number of finished images and the number of all images.

    Raises:
        DataError: the data set, or every image in it, is unusable.
    """
    dataset = open_dataset(source, size=estimator.size)
    warn_of_left_out(dataset)
    ids: list[str] = []
    gaze: list[Angles] = []
    poses: list[Any] = []
    rejected: dict[str, str] = {}
    waiting: list[Patches] = []

    def finish() -> None:
        """Predict the patches that wait."""
        conditions = np.array(poses[-len(waiting) :]) if estimator.head_pose else None
        gaze.append(estimator.predict_patches(np.stack(waiting), conditions))
        waiting.clear()

    outcomes = read_labelled(dataset, estimator.size, equalize=estimator.equalize, labels=bool(estimator.head_pose))
    # Reject what cannot be used, and collect the rest.
    for done, (sample, outcome) in enumerate(outcomes, 1):
        if isinstance(outcome, ImageError):
            rejected[sample] = outcome.reason
        elif estimator.head_pose and "head_pose" not in outcome[1]:
            rejected[sample] = "has no head pose, which this estimator needs"
        else:
            ids.append(sample)
            waiting.append(outcome[0])
            poses.append(outcome[1].get("head_pose"))
        # Predict a block at a time, and the rest at the end.
        if waiting and (len(waiting) == _TABLE_BLOCK or done == len(dataset.ids)):
            finish()
            report(done, len(dataset.ids))
    if waiting:
        finish()
    if not ids:
        raise DataError(
            f"{source} has no usable image among its {len(rejected)} images; the first {next(iter(rejected.values()))}"
        )
    return Predictions(ids, np.concatenate(gaze), np.array(poses) if estimator.head_pose else None, rejected)


def predict_dataset(
    estimator: GazePredictor,
    source: Path,
    destination: Path,
    *,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> PredictionSummary:
    """Write the gaze of every usable image of a data set as a table ``file, gaze_pitch_rad, gaze_yaw_rad``.

    Unusable images are listed in :func:`rejects_path`, with the reason.

    Args:
        estimator, source, report: see :func:`predict_all`.
        destination: the table, written at the end.

    Raises:
        DataError: the data set, or every image in it, is unusable.
        OutputError: the table is inside the data set or cannot be written, or would replace a file that is no table
            of predictions.
    """
    check_apart(source, destination)
    if destination.is_dir():
        raise WrongOutputError(f"{destination} is a folder; name a file for the table, such as predictions.csv")
    # An earlier table of predictions is replaced; any other file is kept.
    pitch, yaw = columns = PAIRS["gaze"]
    rejects = rejects_path(destination)
    for path, header in ((destination, ("file", *columns)), (rejects, REJECTED_COLUMNS)):
        if path.exists() and (path.name == LABELS_FILE or not was_written(path, header)):
            raise WrongOutputError(f"{path} already exists and is no table of predictions; choose another name")
    ids, gaze, _, rejected = predict_all(estimator, source, report=report)
    # Write the table of predictions, and that of rejected images.
    rows = [
        {"file": sample, pitch: f"{angles[0]:.9g}", yaw: f"{angles[1]:.9g}"}
        for sample, angles in zip(ids, gaze, strict=True)
    ]
    write_table(destination, ("file", *columns), rows)
    if rejected:
        write_rejected(rejects, [(sample, "predict", why) for sample, why in rejected.items()])
    else:
        remove_file(rejects)  # an earlier table would be out of date
    return PredictionSummary(len(ids), len(rejected))


def predict_image(estimator: GazePredictor, path: Path) -> Angles:
    """Return pitch and yaw in radians, (2,), of one image file.

    Raises:
        DataError: the estimator is conditioned on head pose, which a single image does not have.
        ImageError: the image cannot be used.
    """
    if estimator.head_pose:
        raise WrongInputError(
            f"{path} has no head pose, on which this estimator is conditioned; name a folder whose labels.csv has it"
        )
    gaze: Angles = estimator(read_image(path))[0]
    return gaze
