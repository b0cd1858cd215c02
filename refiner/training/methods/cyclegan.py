"""CycleGAN's game: a second refiner leads back from photographs to renders, and there and back must be the identity.

Its own discriminator and its own history are those of a second game, in which renders and photographs have changed
places.

Source: Zhu et al. 2017, arXiv:1703.10593, equations 1 to 3; the identity loss of section 5.2.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.training.methods.build import Player
from refiner.training.methods.simgan import Metrics, SimGAN

IDENTITY = 0.5
"""Weight of the identity loss, as a share of the cycle's."""


class CycleGAN(SimGAN):
    """Both directions; see :class:`refiner.training.methods.simgan.SimGAN`."""

    needs_real = True

    def __init__(self, configuration: TrainingConfiguration, **options: Any) -> None:
        super().__init__(configuration, **options)
        untold = configuration.discriminator.model_copy(update={"condition": "none"})
        plain = {"ema_decay": 0.0, "discriminator": untold, "self_regularization": "pixels"}  # it has no estimator
        back = configuration.model_copy(update=plain)
        self.back = SimGAN(
            back, device=self.device, precision=self.precision, processes=self.processes, purpose="back, "
        )

    def extra_losses(
        self, refined: Tensor, synthetic: Tensor, real: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Metrics]:
        """The cycle, both ways round, what each leaves of the other domain, and the wish of the way back to fool."""
        assert real is not None
        back = self.back
        rendered = back.refiner(real)
        apart = [(back.refiner(refined), synthetic), (self.refiner(rendered), real)]
        same = [(self.refiner(real), real), (back.refiner(synthetic), synthetic)]
        terms = {
            "cycle": torch.stack([(there - here).abs().mean() for there, here in apart]).sum(),
            "identity": torch.stack([(there - here).abs().mean() for there, here in same]).sum(),
            "adversarial_back": back.adversarial_loss(rendered, generator),
        }
        weight = self.configuration.correspondence_weight
        return weight * (terms["cycle"] + IDENTITY * terms["identity"]) + terms["adversarial_back"], terms

    @property
    def partners(self) -> Sequence[Player]:
        """The refiner that leads back."""
        return (Player(self.back.refiner, self.back.refiner_optimizer),)

    def update_discriminator(
        self,
        synthetic: Tensor,
        real: Tensor,
        generator: torch.Generator,
        *,
        penalize: bool = True,
        gaze: Tensor | None = None,
    ) -> Metrics:
        """One step of each discriminator; the one of the way back is told no gaze."""
        metrics = super().update_discriminator(synthetic, real, generator, penalize=penalize, gaze=gaze)
        back = self.back.update_discriminator(real, synthetic, generator, penalize=penalize)
        return metrics | {"discriminator_loss_back": back["discriminator_loss"]}

    def state_dict(self) -> dict[str, Any]:
        """Of both games."""
        return {**super().state_dict(), "back": self.back.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state)
        self.back.load_state_dict(state["back"])
