"""Augmented batches for the training of an estimator: labelled ones, and unlabelled ones for co-teaching.

Every batch follows from the seed and the step alone, so that a resumed run needs no state of the data.
"""

import torch
from torch import Tensor

from refiner.core.rng import derived_seed
from refiner.core.sampler import Sampler
from refiner.data.augmentation import Augmentation
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import LabelledPatches
from refiner.gaze.training.augmentation import strong_augmentation
from refiner.gaze.training.refining import BatchRefiner
from refiner.gaze.training.unlabelled import UnlabelledPatches
from refiner.images.arrays import to_float


def build_augmentation(configuration: GazeConfiguration) -> Augmentation | None:
    """Build the transforms of a configuration; None if it has none.

    Raises:
        ConfigurationError: a transform is unknown, does not fit the images, or changes labels in an unknown way.
    """
    if not configuration.augmentation.transforms:
        return None
    return Augmentation(
        configuration.augmentation.transforms,
        key="augmentation.transforms",
        seed=configuration.seed,
        purpose="gaze",
        shape=configuration.size,
        labelled=True,
    )


class LabelledBatches:
    """Endless augmented batches of labelled patches.

    Args:
        configuration: of the run; its seed decides the order of the images and their augmentation.
        patches: patches to learn from.
        augmentation: albumentations transforms, if there are any.
        refiner: refines every batch, if there is one. The patches are then not equalised.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        configuration: GazeConfiguration,
        patches: LabelledPatches,
        augmentation: Augmentation | None,
        refiner: BatchRefiner | None,
        *,
        device: str,
    ) -> None:
        self.augmentation, self.refiner, self.device = augmentation, refiner, device
        self.strength, self.seed = configuration.augmentation.strong, configuration.seed
        self.images, self.gaze, self.head_pose = patches.tensors()
        self.sampler = Sampler(len(patches), configuration.batch_size, seed=configuration.seed, purpose="gaze")

    def draw(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the augmented images (N, 1, H, W) in [-1, 1], gaze (N, 2) and head pose (N, 2) of one update."""
        # Draw images and labels.
        chosen = torch.from_numpy(self.sampler.batch(step))
        pixels, gaze = self.images[chosen], self.gaze[chosen]
        head_pose = None if self.head_pose is None else self.head_pose[chosen]

        # Refine the images anew.
        if self.refiner is not None:
            pixels = self.refiner.batch(pixels, step)

        # Apply the transforms of the configuration, which may change the labels.
        if self.augmentation is not None:
            labels = {"gaze": gaze.numpy()} | ({} if head_pose is None else {"head_pose": head_pose.numpy()})
            positions = [(step, place) for place in range(len(pixels))]
            changed, labels = self.augmentation.batch(pixels[:, 0].numpy(), labels, positions=positions)
            pixels, gaze = torch.from_numpy(changed)[:, None], torch.from_numpy(labels["gaze"])
            head_pose = None if head_pose is None else torch.from_numpy(labels["head_pose"])

        # Apply strong augmentation, which keeps the labels.
        images = strong_augmentation(to_float(pixels), strength=self.strength, seed=self.seed, step=step)
        images = images.to(self.device, memory_format=torch.channels_last)
        return images, gaze.to(self.device), None if head_pose is None else head_pose.to(self.device)


class UnlabelledBatches:
    """Endless batches of unlabelled patches, clean for the teachers and augmented for each student.

    They are never refined, and no transforms are applied: flips and rotations would change the gaze.

    Args:
        configuration: of the run; its seed decides the order of the images.
        patches: unlabelled patches.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, configuration: GazeConfiguration, patches: UnlabelledPatches, *, device: str) -> None:
        self.strength, self.device = configuration.augmentation.strong, device
        self.images, self.head_pose = patches.tensors()
        self.sampler = Sampler(
            len(patches), configuration.unlabelled_batch_size, seed=configuration.seed, purpose="gaze-unlabelled"
        )

    def draw(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Return the clean images (N, 1, H, W) in [-1, 1], on the CPU, and the head pose (N, 2) of one update."""
        chosen = torch.from_numpy(self.sampler.batch(step))
        head_pose = None if self.head_pose is None else self.head_pose[chosen].to(self.device)
        return to_float(self.images[chosen]), head_pose

    def for_teacher(self, images: Tensor) -> Tensor:
        """Return clean images on the device."""
        return images.to(self.device, memory_format=torch.channels_last)

    def for_student(self, images: Tensor, *, seed: int, step: int) -> Tensor:
        """Return strongly augmented images on the device; the changes follow from the student's seed and the step."""
        seed = derived_seed(seed, "unlabelled")  # other changes than those of its labelled images
        return self.for_teacher(strong_augmentation(images, strength=self.strength, seed=seed, step=step))
