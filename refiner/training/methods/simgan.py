"""The two players and their moves: refiner and discriminator, their optimizers, the history between them.

One update is one move. What has state is listed once, in :meth:`Game.state_dict`.

Source: arXiv:1612.07828, section 2: equations 1 to 4, local adversarial loss (2.2), history (2.3).
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import RunError, TrainingError
from refiner.core.rng import BatchSlice
from refiner.losses.adversarial import OBJECTIVES
from refiner.losses.motion import motion_loss
from refiner.losses.penalties import gradient_penalty, r1_penalty
from refiner.losses.self_regularization import SELF_REGULARIZATIONS, consistency_loss, self_regularization_loss
from refiner.models.refiner import RefinerNetwork
from refiner.models.refiner_file import RefinerFile, save_refiner
from refiner.runs.distributed import Processes
from refiner.runs.health import discriminator_metrics, refiner_metrics
from refiner.training.methods.build import CONDITIONS, Player, architecture, build_networks, make_optimizer
from refiner.training.methods.diffaugment import augment
from refiner.training.methods.image_history import ImageHistory
from refiner.training.task_network import TaskNetwork

LARGEST_GAZE = 0.5
"""In radians; what is 1 to a discriminator that is told it."""

Metrics = dict[str, Tensor]
"""Scalars that one update measured, by name."""


class SimGAN:
    """Both networks and everything that moves them.

    Args:
        configuration: of the run; the initial weights follow from its seed.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32`` or ``bf16``, of the convolutions; weights are always fp32.
        task: a frozen network whose answers refining should not change.
        processes: that train together; None is one alone.
        purpose: of its networks, where there are two games: their first weights differ by it.
    """

    needs_real = False
    """Whether the refiner's updates look at photographs, too."""

    def __init__(
        self,
        configuration: TrainingConfiguration,
        *,
        device: str,
        precision: str,
        task: TaskNetwork | None = None,
        processes: Processes | None = None,
        purpose: str = "",
    ) -> None:
        self.configuration, self.device, self.precision = configuration, device, precision
        self.processes = processes or Processes(device)
        place = self.processes.device
        self.task = None if task is None else task.to(place)
        refiner, discriminator = build_networks(configuration, purpose=purpose)
        self.refiner, self.discriminator = refiner.to(place), discriminator.to(place)
        self.average = copy.deepcopy(self.refiner) if configuration.ema_decay else None
        self.refiner_optimizer = make_optimizer(self.refiner, configuration.refiner_optimizer)
        self.discriminator_optimizer = make_optimizer(self.discriminator, configuration.discriminator_optimizer)
        self.history = ImageHistory(configuration.history_size)
        self.objective = OBJECTIVES[configuration.objective]
        self.features = (
            self.task.features
            if self.task and configuration.self_regularization == "features"
            else SELF_REGULARIZATIONS[configuration.self_regularization]
        )

    # --- moves -------------------------------------------------------------------------------------------------

    def update_refiner(
        self,
        synthetic: Tensor,
        generator: torch.Generator,
        *,
        adversarial: bool = True,
        real: Tensor | None = None,
        gaze: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Metrics:
        """One step of the refiner: fool the discriminator and stay near the render, or only the latter.

        Near in pixels (or features), and beside an adversary also in place and in the answers of the task network.

        Args:
            synthetic: (N, C, H, W), in [-1, 1]: this process's rows of the batch.
            generator: what the discriminator's augmentation draws from.
            adversarial: False while the refiner is pre-trained.
            real: the same of photographs, where the game needs them.
            gaze: (N, 2), of the renders, where the discriminator is told it.
            mask: (N, 1, H, W), how much each place counts in self-regularization; None is all alike.

        Raises:
            TrainingError: the loss is not finite.
        """
        synthetic = self._place(synthetic)
        with self.autocast():
            refined = self.refiner(synthetic)
            weights = None if mask is None else self._place(mask)
            regularization = self_regularization_loss(refined, synthetic, features=self.features, weights=weights)
            terms = {"self_regularization": regularization}
            # Pre-training keeps lambda, as equation 3 has it: plain SGD feels the scale.
            loss = regularization * (self.configuration.self_regularization_weight or float(not adversarial))
            if adversarial:
                terms["adversarial"] = self.adversarial_loss(refined, generator, gaze)
                loss = loss + terms["adversarial"]
                tied, ties = self.extra_losses(
                    refined, synthetic, None if real is None else self._place(real), generator
                )
                loss, terms = loss + tied, terms | ties
        if adversarial and self.task is not None:  # in fp32: small differences of angles
            terms["consistency"] = consistency_loss(refined.float(), synthetic, self.task)
            loss = loss + self.configuration.consistency_weight * terms["consistency"]
        if adversarial and self.configuration.motion_weight:  # in fp32, too: it inverts matrices
            terms["motion"] = motion_loss(refined.float(), synthetic)
            loss = loss + self.configuration.motion_weight * terms["motion"]
        partners = self.partners if adversarial else ()
        terms = self._descend(loss, terms, Player(self.refiner, self.refiner_optimizer), *partners)
        self._update_average()
        return terms | refiner_metrics(*map(self.processes.gather, (synthetic, refined)))

    def update_discriminator(
        self,
        synthetic: Tensor,
        real: Tensor,
        generator: torch.Generator,
        *,
        penalize: bool = True,
        gaze: Tensor | None = None,
    ) -> Metrics:
        """One step of the discriminator on refined images, fresh and of the history, and on photographs.

        Args:
            synthetic: (N, C, H, W), in [-1, 1], refined here without a gradient.
            real: the same of photographs.
            generator: what the history, the augmentation and the penalty draw from.
            penalize: whether this update takes the R1 penalty, where the configuration gives it a weight.
            gaze: (N, 2), of the renders, where the discriminator is told it.

        Raises:
            TrainingError: the loss is not finite.
        """
        synthetic, real = self._place(synthetic), self._place(real)
        with self.autocast(), torch.no_grad():
            fresh = self.refiner(synthetic)
            answers = self.task(real) if self.task is not None and gaze is not None else None
        rows, channels = self._rows(len(fresh)), self.configuration.channels
        mixed = self.history.mix(self.processes.gather(self._told(fresh, gaze)), generator)[rows.slice]
        refined, planes = self._augment(mixed[:, :channels], generator), mixed[:, channels:]
        refined = torch.cat([refined, planes], dim=1) if planes.shape[1] else refined
        real = self._told(self._augment(real, generator), answers)
        with self.autocast():
            refined_logits, real_logits = self.discriminator(refined), self.discriminator(real, real=True)
            smoothed = {"smoothing": self.configuration.label_smoothing} if self.objective.log_odds else {}
            loss = self.objective.discriminator(refined_logits, real_logits, **smoothed)
        terms = {"discriminator_loss": loss}
        section = self.configuration.discriminator
        if penalize and section.r1_weight:  # in fp32: squares of small differences
            terms["r1"] = r1_penalty(self.discriminator, real, generator, rows=rows)
            loss = loss + section.r1_weight / 2 * section.r1_every * terms["r1"]
        if section.gradient_penalty:  # in fp32, too
            terms["slope"] = gradient_penalty(self.discriminator, refined.float(), real, generator, rows=rows)
            loss = loss + section.gradient_penalty * terms["slope"]
        terms = self._descend(loss, terms, Player(self.discriminator, self.discriminator_optimizer))
        # The monitors look at fresh images alone: the history is easier to tell.
        refined_logits, real_logits = map(self.processes.gather, (refined_logits, real_logits))
        return terms | discriminator_metrics(refined_logits[: rows.batch - rows.batch // 2], real_logits)

    def adversarial_loss(self, refined: Tensor, generator: torch.Generator, gaze: Tensor | None = None) -> Tensor:
        """What the refiner loses where the discriminator tells its images; the discriminator stands still."""
        self.discriminator.requires_grad_(False).eval()  # differentiable, but frozen, spectral norms too
        seen = self._told(self._augment(refined, generator), gaze)
        loss = self.objective.refiner(self.discriminator(seen))
        self.discriminator.requires_grad_(True).train()
        return loss

    def extra_losses(
        self, refined: Tensor, synthetic: Tensor, real: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Metrics]:
        """What else ties refined images to their renders, weighed, and its terms: nothing here, for rivals to fill."""
        return refined.new_zeros(()), {}

    @property
    def partners(self) -> Sequence[Player]:
        """What moves along with the refiner."""
        return ()

    @torch.no_grad()
    def refine(self, synthetic: Tensor) -> Tensor:
        """Images as the refiner that is saved makes them, on the CPU."""
        with self.autocast():
            refined: Tensor = self.saved_network(self._place(synthetic))
        return refined.cpu()

    def autocast(self) -> torch.autocast:
        """The precision of the convolutions."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def _augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """What the discriminator sees of images."""
        strengths = self.configuration.discriminator.augmentation.model_dump()
        return augment(images, generator, rows=self._rows(len(images)), **strengths)

    def _told(self, images: Tensor, gaze: Tensor | None) -> Tensor:
        """Images with the gaze of each as further planes, where the discriminator is told it."""
        if not CONDITIONS[self.configuration.discriminator.condition]:
            return images
        assert gaze is not None
        planes = (gaze.to(images) / LARGEST_GAZE)[:, :, None, None]
        return torch.cat([images, planes.expand(-1, -1, *images.shape[2:])], dim=1)

    def _rows(self, count: int) -> BatchSlice:
        """Which of the batch this process has."""
        return self.processes.rows(count * self.processes.count)

    def _place(self, images: Tensor) -> Tensor:
        return images.to(self.processes.device, memory_format=torch.channels_last)

    def _descend(self, loss: Tensor, terms: Metrics, *players: Player) -> Metrics:
        """One step of each player; the terms of the loss, as the means over processes that they are."""
        total, *means = self.processes.mean(torch.stack([loss, *terms.values()]))
        terms = dict(zip(terms, means, strict=True))
        if not torch.isfinite(total):
            found = ", ".join(f"{name} {value.item():.4g}" for name, value in terms.items())
            raise TrainingError(f"the loss is not finite ({found}); lower the learning rates, or set precision: fp32")
        for player in players:
            player.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for player in players:
            self.processes.average_gradients(player.network)
            player.optimizer.step()
        return terms

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is not None:
            for mean, weight in zip(self.average.parameters(), self.refiner.parameters(), strict=True):
                mean.lerp_(weight, 1 - self.configuration.ema_decay)

    # --- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that cannot be recomputed."""
        return {
            "refiner": self.refiner.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "refiner_optimizer": self.refiner_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.refiner.load_state_dict(state["refiner"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.refiner_optimizer.load_state_dict(state["refiner_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.history.load_state_dict(state["history"], self.processes.device)

    @property
    def saved_network(self) -> RefinerNetwork:
        """The refiner that is saved and shown: the running mean of the weights where there is one."""
        return self.refiner if self.average is None else self.average

    def save(self, path: Path, *, step: int, weights: dict[str, Tensor] | None = None) -> None:
        """Write the refiner file; ``weights`` instead of the present ones, ``step`` being theirs."""
        network = self.saved_network
        if weights is not None:
            network = copy.deepcopy(network)
            network.load_state_dict(weights)
        left_out = {"data", "precision", *(() if self.task else ("consistency_weight",))}
        summary = self.configuration.model_dump(mode="json", exclude=left_out)
        training = {"step": step, "precision": self.precision, "configuration": summary}
        if self.task is not None:
            training["estimator"] = self.task.digest
        save_refiner(path, network, training=training)

    def take_weights(self, refiner: RefinerFile) -> None:
        """Start from another refiner's weights.

        Raises:
            RunError: its architecture is another.
        """
        if refiner.architecture != architecture(self.configuration):
            raise RunError(
                f"the refiner to start from is of another architecture ({refiner.metadata['architecture']}); set "
                "channels and the refiner section to the same"
            )
        weights = refiner.network().state_dict()
        self.refiner.load_state_dict(weights)
        if self.average is not None:
            self.average.load_state_dict(weights)
