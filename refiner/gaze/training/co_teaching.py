"""Co-teaching: several estimators that learn from labelled renders, and from each other on unlabelled real images.

The members have the same recipe, other initial weights and other batches. The exponential moving average of a member's
weights is its teacher. After a warm-up on labelled images, each step also draws a batch of unlabelled images. The
teachers predict the gaze of the clean images, and every member learns the mean of these answers on strongly augmented
images. Two rules keep it from learning the errors of the teachers:

- An image on which the teachers disagree has a low weight.
- Only differences of gaze between the images of a batch are taught, never the gaze itself. A constant error, such as
  renders leave on real eyes, is the same for all images and cancels.

Sources: the average of weights as the teacher is that of Tarvainen and Valpola 2017, "Mean teachers are better role
models", arXiv:1703.01780. A clean image that teaches an augmented one is from FixMatch, Sohn et al. 2020,
arXiv:2001.07685. FixMatch keeps or drops an image by the confidence of one classifier; here the agreement of several
regressors weights it. The name is that of Han et al. 2018, "Co-teaching", arXiv:1804.06872. Their two classifiers
choose images with clean labels for each other, which is another method.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from refiner.core.rng import derived_seed
from refiner.data.augmentation import Augmentation
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import LabelledPatches
from refiner.gaze.training.batches import LabelledBatches, UnlabelledBatches, build_augmentation
from refiner.gaze.training.job import GazeTraining
from refiner.gaze.training.learner import Learner
from refiner.gaze.training.refining import BatchRefiner
from refiner.gaze.training.saving import held_out_error
from refiner.gaze.training.unlabelled import UnlabelledPatches
from refiner.runs.folder import RunFolder

_ROUNDING = 0.01
"""Distance in radians (0.6 degrees) below which the loss is smooth instead of a cone, as in the angular loss."""

_RAMP = 0.1
"""Share of the steps after the warm-up over which the weight of unlabelled images grows."""


class Lesson(NamedTuple):
    """The answers of the teachers on a batch of unlabelled images.

    Attributes:
        gaze: (N, 2), mean of their answers, pitch and yaw in radians.
        weights: (N,), weight of each image; the sum is 1.
        spread: (N,), disagreement of the teachers in degrees.
        agreement: (N,), 1 where the teachers agree, towards 0 where they do not: the weights before normalisation.
    """

    gaze: Tensor
    weights: Tensor
    spread: Tensor
    agreement: Tensor


def make_lesson(answers: Tensor, *, tolerance_degrees: float) -> Lesson:
    """Combine the answers of the teachers.

    The disagreement on an image is the length of the standard deviation, over the teachers, of their answers minus the
    mean of their own batch. An image with disagreement s has the weight exp(-(s / tolerance)^2), before normalisation.

    Args:
        answers: (M, N, 2), of M teachers, at least two; pitch and yaw in radians.
        tolerance_degrees: disagreement at which an image counts 1/e of one that the teachers agree on.
    """
    differences = answers - answers.mean(dim=1, keepdim=True)
    spread = torch.rad2deg(differences.std(dim=0)).norm(dim=1)
    exponents = -(spread / tolerance_degrees).square()
    # A softmax is the normalised exponential, and stays finite where all weights are tiny.
    return Lesson(answers.mean(dim=0), exponents.softmax(dim=0), spread, exponents.exp())


def unlabelled_loss(predicted: Tensor, lesson: Lesson) -> Tensor:
    """Return the weighted mean distance between the differences that are predicted and those that are taught.

    The weighted mean of the batch is subtracted from both sides, so that a constant on either changes nothing. The
    distance d in radians is smoothed as in the angular loss: sqrt(d^2 + r^2) - r with r = 0.01.

    Args:
        predicted: (N, 2), pitch and yaw in radians; gradients flow through it.
        lesson: for the same images.

    Returns:
        Scalar tensor, at least 0.
    """
    weights = lesson.weights[:, None]
    error = predicted - lesson.gaze
    squared = (error - (weights * error).sum(dim=0)).square().sum(dim=1)
    return (lesson.weights * ((squared + _ROUNDING**2).sqrt() - _ROUNDING)).sum()


def ramp(step: int, steps: int, warm_up: float) -> float:
    """Return the factor on the weight of unlabelled images at a step: 0 in the warm-up, then a linear rise to 1.

    Args:
        step: number of updates so far.
        steps: number of all updates.
        warm_up: share of the updates that use labelled images alone.
    """
    start = round(warm_up * steps)
    return 0.0 if step < start else min(1.0, (step - start + 1) / max(1.0, _RAMP * (steps - start)))


class Member(NamedTuple):
    """One of the estimators that are trained together: the network, its labelled batches, and the seed of both."""

    learner: Learner
    batches: LabelledBatches
    seed: int


def member_configuration(configuration: GazeConfiguration, number: int) -> GazeConfiguration:
    """Return the configuration of a member, which has a seed of its own; member 1 has that of the run."""
    if number == 1:
        return configuration
    return configuration.model_copy(update={"seed": derived_seed(configuration.seed, "co-teaching", number)})


class CoTeaching(GazeTraining):
    """Training of several estimators together; the last averages of their weights are saved.

    Held-out renders cannot tell which weights are best for real images, so they are measured and choose nothing.

    Args:
        configuration, folder, training, held_out, augmentation, refiner, device, inputs: see :class:`GazeTraining`.
        unlabelled: real images, which all members learn from.

    Raises:
        RunError: the run was started with other data.
    """

    def __init__(
        self,
        configuration: GazeConfiguration,
        folder: RunFolder,
        training: LabelledPatches,
        held_out: LabelledPatches | None,
        augmentation: Augmentation | None,
        refiner: BatchRefiner | None,
        unlabelled: UnlabelledPatches,
        *,
        device: str,
        inputs: dict[str, str],
    ) -> None:
        super().__init__(configuration, folder, training, held_out, augmentation, refiner, device=device, inputs=inputs)
        # The first member is the estimator of a run without co-teaching; the others have seeds of their own.
        device, precision = self.learner.device, self.learner.precision
        self.members = [Member(self.learner, self.batches, configuration.seed)]
        for number in range(2, configuration.co_teaching.members + 1):
            own = member_configuration(configuration, number)
            own_refiner = None if refiner is None else refiner.with_seed(own.seed)
            batches = LabelledBatches(own, training, build_augmentation(own), own_refiner, device=device)
            self.members.append(Member(Learner(own, device=device, precision=precision), batches, own.seed))
        self.unlabelled = UnlabelledBatches(configuration, unlabelled, device=device)
        self.unlabelled_images = len(unlabelled)

    def take_step(self) -> None:
        """Update every member once: on its labelled batch and, after the warm-up, on the common unlabelled batch."""
        section = self.configuration.co_teaching
        share = ramp(self.step, self.total_steps, section.warm_up)
        if not share:
            for member in self.members:
                self.metrics.add(member.learner.update(*member.batches.draw(self.step), step=self.step))
            return

        # All teachers answer before any of them changes.
        images, head_pose = self.unlabelled.draw(self.step)
        clean = self.unlabelled.for_teacher(images)
        answers = torch.stack([member.learner.teach(clean, head_pose) for member in self.members])
        lesson = make_lesson(answers, tolerance_degrees=section.tolerance_degrees)
        self.metrics.add({"agreement": lesson.agreement.mean(), "spread_degrees": lesson.spread.mean()})

        # Each member learns from its own augmentation of the images.
        for member in self.members:
            changed = self.unlabelled.for_student(images, seed=member.seed, step=self.step)
            loss = unlabelled_loss(member.learner.predict(changed, head_pose), lesson)
            batch = member.batches.draw(self.step)
            self.metrics.add(member.learner.update(*batch, step=self.step, further=section.weight * share * loss))
            self.metrics.add({"unlabelled_loss": loss})

    def evaluate(self) -> dict[str, float]:
        """Measure the mean error of the members on the held-out images in degrees."""
        if not self.held_out or not self.is_evaluation_due:
            return {}
        errors = [self._held_out_degrees(member) for member in self.members]
        return {"held_out_degrees": sum(errors) / len(errors)}

    def _held_out_degrees(self, member: Member) -> float:
        assert self.held_out is not None
        return held_out_error(member.learner.saved_network, self.held_out, self.learner.device)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {**super().state_dict(), "others": [member.learner.state_dict() for member in self.members[1:]]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        super().load_state_dict(state)
        for member, own in zip(self.members[1:], state["others"], strict=True):
            member.learner.load_state_dict(own)

    def save_estimator(self) -> None:
        """Write an estimator file for each member; the first comes last, since it marks a finished run."""
        for number, member in reversed([*enumerate(self.members, 1)]):
            self.save_weights(
                member.learner.saved_network.state_dict(),
                step=self.step,
                held_out_degrees=self._held_out_degrees(member) if self.held_out else None,
                member=number,
                co_taught={
                    "member": number,
                    "members": len(self.members),
                    "unlabelled_images": self.unlabelled_images,
                },
            )
