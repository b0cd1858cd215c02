"""SimGAN: the losses of refiner and discriminator, and one update of each.

CycleGAN, CUT and pix2pix derive from it and add losses or conditions of their own.

Source: arXiv:1612.07828, section 2: equations 1 to 4, local adversarial loss (2.2), history (2.3).
"""

import torch
from torch import Tensor

from refiner.losses.consistency import absolute_consistency_loss, centred_consistency_loss
from refiner.losses.motion import motion_loss
from refiner.losses.penalties import gradient_penalty, r1_penalty
from refiner.losses.self_regularization import self_regularization_loss
from refiner.runs.health import discriminator_metrics, refiner_metrics
from refiner.training.methods.base import Method, Metrics
from refiner.training.methods.build import OptimizedNetwork
from refiner.training.methods.diffaugment import augment

GAZE_SCALE = 0.5
"""Angle in radians that the planes of a gaze-conditioned discriminator show as 1."""


class SimGAN(Method):
    """The paper's method; see :class:`refiner.training.methods.base.Method` for the arguments."""

    needs_real = False
    """Whether an update of the refiner also uses real images."""

    def update_refiner(
        self,
        synthetic: Tensor,
        generator: torch.Generator,
        *,
        adversarial: bool = True,
        real: Tensor | None = None,
        gaze: Tensor | None = None,
        mask: Tensor | None = None,
        partner: Tensor | None = None,
    ) -> Metrics:
        """Update the refiner once.

        Args:
            synthetic: (N, C, H, W), in [-1, 1]: this process's slice of the batch.
            generator: random source of the discriminator's augmentation.
            adversarial: False in pre-training, which uses self-regularization alone.
            real: real images of the same shape, if the method needs them.
            gaze: (N, 2) radians, of the renders, if the discriminator is conditioned on gaze.
            mask: (N, 1, H, W), weight of each pixel in self-regularization; None weights all alike.
            partner: real images of the same scenes, if the method trains on pairs.

        Raises:
            TrainingError: the loss is not finite.
        """
        configuration = self.configuration
        synthetic = self._to_device(synthetic)
        with self.autocast():
            # Stay close to the render (equation 3), or approach its partner. Pre-training has no other loss, so a
            # lambda of 0 counts as 1 there.
            refined = self.refiner(synthetic)
            target = synthetic if partner is None else self._to_device(partner)
            weights = None if mask is None else self._to_device(mask)
            regularization = self_regularization_loss(
                *(refined, target),
                features=self.features,
                weights=weights,
                mean_over_processes=self.processes.mean,
            )
            terms = {"self_regularization": regularization}
            loss = regularization * (configuration.self_regularization_weight or float(not adversarial))

            # Fool the discriminator: equation 2. CycleGAN and CUT add their losses here.
            if adversarial:
                terms["adversarial"] = self.adversarial_loss(refined, generator, self._planes(synthetic, gaze))
                loss = loss + terms["adversarial"]
                real = None if real is None else self._to_device(real)
                extra_loss, extra_terms = self.extra_losses(refined, synthetic, real, generator)
                loss, terms = loss + extra_loss, terms | extra_terms

        # Keep the predictions of the task network, in fp32: they differ by small angles.
        if adversarial and self.task is not None:
            terms["consistency"] = self._consistency(refined.float(), synthetic)
            loss = loss + configuration.consistency_weight * terms["consistency"]

        # Keep every structure in place, in fp32: the loss inverts matrices.
        if adversarial and configuration.motion_weight:
            terms["motion"] = motion_loss(refined.float(), synthetic)
            loss = loss + configuration.motion_weight * terms["motion"]

        # Pre-training updates the refiner alone, not the further networks of CycleGAN and CUT.
        updated = self.networks_of_refiner if adversarial else self.networks_of_refiner[:1]
        terms = self._descend(loss, terms, updated)
        self._update_average()
        return terms | refiner_metrics(self.processes.gather(synthetic), self.processes.gather(refined))

    def update_discriminator(
        self,
        synthetic: Tensor,
        real: Tensor,
        generator: torch.Generator,
        *,
        penalize: bool = True,
        gaze: Tensor | None = None,
    ) -> Metrics:
        """Update the discriminator once, on real images and on refined images, half of them from the history.

        Args:
            synthetic: (N, C, H, W), in [-1, 1]; refined here without a gradient.
            real: real images of the same shape.
            generator: random source of the history, the augmentation and the penalties.
            penalize: whether this update includes the R1 penalty, if the configuration gives it a weight.
            gaze: (N, 2) radians, of the renders, if the discriminator is conditioned on gaze.

        Raises:
            TrainingError: the loss is not finite.
        """
        synthetic, real = self._to_device(synthetic), self._to_device(real)
        section, channels = self.configuration.discriminator, self.configuration.channels

        # Refine the renders, and find the condition of the real images.
        planes = self._planes(synthetic, gaze)
        with self.autocast(), torch.no_grad():
            fresh = self.refiner(synthetic)
            real_planes = self._planes_of_real(real, planes)

        # Mix fresh images with the history of the whole batch (section 2.3), then take this process's slice.
        part = self._batch_slice(len(fresh))
        mixed = self.history.mix(self.processes.gather(_with_planes(fresh, planes)), generator)[part.slice]

        # Augment the images, not their planes.
        refined = _with_planes(self._augment(mixed[:, :channels], generator), mixed[:, channels:])
        real = _with_planes(self._augment(real, generator), real_planes)

        # Classify every patch: equation 2, local adversarial loss (section 2.2).
        with self.autocast():
            refined_logits, real_logits = self.discriminator(refined), self.discriminator(real, real=True)
            smoothing = {"smoothing": self.configuration.label_smoothing} if self.objective.log_odds else {}
            loss = self.objective.discriminator(refined_logits, real_logits, **smoothing)
        terms = {"discriminator_loss": loss}

        # Penalties, in fp32: they square small differences.
        if penalize and section.r1_weight:
            terms["r1"] = r1_penalty(self.discriminator, real, generator, rows=part)
            loss = loss + section.r1_weight / 2 * section.r1_every * terms["r1"]
        if section.gradient_penalty:
            terms["slope"] = gradient_penalty(self.discriminator, refined.float(), real, generator, rows=part)
            loss = loss + section.gradient_penalty * terms["slope"]

        terms = self._descend(loss, terms, (OptimizedNetwork(self.discriminator, self.discriminator_optimizer),))
        # Monitor fresh images alone, which come first: images of the history are easier to classify.
        refined_logits, real_logits = self.processes.gather(refined_logits), self.processes.gather(real_logits)
        return terms | discriminator_metrics(refined_logits[: part.batch_size - part.batch_size // 2], real_logits)

    def adversarial_loss(self, refined: Tensor, generator: torch.Generator, planes: Tensor | None = None) -> Tensor:
        """Return the adversarial loss of the refiner; the discriminator is frozen, with its norms.

        Args:
            refined: (N, C, H, W).
            generator: random source of the augmentation.
            planes: (N, P, H, W), the condition of the discriminator; None if it has none.
        """
        self.discriminator.requires_grad_(False).eval()
        loss = self.objective.refiner(self.discriminator(_with_planes(self._augment(refined, generator), planes)))
        self.discriminator.requires_grad_(True).train()
        return loss

    def extra_losses(
        self, refined: Tensor, synthetic: Tensor, real: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Metrics]:
        """Return the weighted sum of a method's own losses, and each of them; SimGAN has none."""
        return refined.new_zeros(()), {}

    def _consistency(self, refined: Tensor, synthetic: Tensor) -> Tensor:
        """Return the change of the predictions of the task network."""
        assert self.task is not None
        if self.configuration.consistency == "absolute":
            return absolute_consistency_loss(refined, synthetic, self.task)
        return centred_consistency_loss(refined, synthetic, self.task, mean_over_processes=self.processes.mean)

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change images at random before the discriminator sees them."""
        strengths = self.configuration.discriminator.augmentation.model_dump()
        return augment(images, generator, rows=self._batch_slice(len(images)), **strengths)

    def _planes(self, synthetic: Tensor, gaze: Tensor | None) -> Tensor | None:
        """Return the condition of the discriminator for refined images, (N, P, H, W); None if it has none."""
        if self.configuration.discriminator.condition == "none":
            return None
        assert gaze is not None
        return _gaze_planes(gaze, synthetic)

    def _planes_of_real(self, real: Tensor, planes: Tensor | None) -> Tensor | None:
        """Return the condition for real images, which have no labels: predicted gaze; ``planes`` are of the renders."""
        if planes is None:
            return None
        assert self.task is not None
        return _gaze_planes(self.task(real), real)


def _gaze_planes(gaze: Tensor, images: Tensor) -> Tensor:
    """Return the gaze of each image as two constant planes."""
    planes = (gaze.to(images) / GAZE_SCALE)[:, :, None, None]
    return planes.expand(-1, -1, *images.shape[2:])


def _with_planes(images: Tensor, planes: Tensor | None) -> Tensor:
    """Append planes to images, if there are any."""
    return images if planes is None or not planes.shape[1] else torch.cat([images, planes], dim=1)
