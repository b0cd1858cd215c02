"""CycleGAN: a second refiner maps real images to renders, and both maps in sequence must be the identity.

The second refiner has its own discriminator and history: they form a second SimGAN with the domains exchanged.

Source: Zhu et al. 2017, arXiv:1703.10593, equations 1 to 3; the identity loss of section 5.2.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.training.methods.base import Metrics
from refiner.training.methods.build import OptimizedNetwork
from refiner.training.methods.simgan import SimGAN


class CycleGAN(SimGAN):
    """Both directions; see :class:`refiner.training.methods.base.Method` for the arguments."""

    needs_real = True

    def __init__(self, configuration: TrainingConfiguration, **options: Any) -> None:
        super().__init__(configuration, **options)
        # The way back has no gaze condition, no task network and no average: only the forward refiner is saved.
        section = configuration.discriminator.model_copy(update={"condition": "none"})
        changes = {"ema_decay": 0.0, "discriminator": section, "self_regularization": "pixels"}
        self.back = SimGAN(
            configuration.model_copy(update=changes),
            device=self.device,
            precision=self.precision,
            processes=self.processes,
            purpose="back, ",
        )

    def extra_losses(
        self, refined: Tensor, synthetic: Tensor, real: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Metrics]:
        """Return cycle consistency and identity loss of both directions, and the adversarial loss of the way back."""
        assert real is not None
        back = self.back
        # Both cycles, and the identity of images that are in the target domain already.
        rendered = back.refiner(real)
        cycles = [(back.refiner(refined), synthetic), (self.refiner(rendered), real)]
        identities = [(self.refiner(real), real), (back.refiner(synthetic), synthetic)]
        terms = {
            "cycle": torch.stack([(output - target).abs().mean() for output, target in cycles]).sum(),
            "identity": torch.stack([(output - target).abs().mean() for output, target in identities]).sum(),
            "adversarial_back": back.adversarial_loss(rendered, generator),
        }
        # Weighted sum; the second refiner must fool its own discriminator, too.
        section = self.configuration.cyclegan
        consistency = section.cycle_weight * (terms["cycle"] + section.identity_weight * terms["identity"])
        return consistency + terms["adversarial_back"], terms

    @property
    def networks_of_refiner(self) -> Sequence[OptimizedNetwork]:
        """Both refiners."""
        return (*super().networks_of_refiner, OptimizedNetwork(self.back.refiner, self.back.refiner_optimizer))

    def update_discriminator(
        self, synthetic: Tensor, real: Tensor, generator: torch.Generator, *, penalize: bool = True, **options: Any
    ) -> Metrics:
        """Update both discriminators once; only the forward one is conditioned on gaze."""
        metrics = super().update_discriminator(synthetic, real, generator, penalize=penalize, **options)
        back = self.back.update_discriminator(real, synthetic, generator, penalize=penalize)
        return metrics | {"discriminator_loss_back": back["discriminator_loss"]}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both directions."""
        return {**super().state_dict(), "back": self.back.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        super().load_state_dict(state)
        self.back.load_state_dict(state["back"])
