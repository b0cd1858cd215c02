"""Networks, optimizers and state that every training method has.

A method derives from :class:`Method` and adds its losses. All state is listed in one place,
:meth:`Method.state_dict`.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refiner.config.training import STATISTICS, TrainingConfiguration
from refiner.core.errors import TrainingError, WrongRunError
from refiner.core.rng import BatchSlice
from refiner.losses.adversarial import OBJECTIVES
from refiner.losses.self_regularization import SELF_REGULARIZATIONS
from refiner.models.adapted import Adaptation, AdaptedRefiner, adapted_refiner
from refiner.models.architecture import AdaptedArchitecture, Architecture
from refiner.models.files.refiner_file import RefinerFile, save_refiner
from refiner.models.refiner import RefinerNetwork
from refiner.runs.distributed import Processes
from refiner.training.methods.build import OptimizedNetwork, build_networks, make_optimizer, refiner_architecture
from refiner.training.methods.image_history import ImageHistory
from refiner.training.task_network import TaskNetwork

Metrics = dict[str, Tensor]
"""Scalars that one update measured, by name."""


class Method:
    """Refiner and discriminator with their optimizers, the history buffer, and the average of the refiner's weights.

    Args:
        configuration: of the run; initial weights follow from its seed.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32`` or ``bf16``, of the convolutions; weights are always fp32.
        task: a frozen network whose predictions refining should not change.
        processes: the processes that train together; None for a single one.
        adaptation: adaptation of the renders, on the CPU, which the batches have passed; None for none.
        purpose: distinguishes the initial weights of a second method, as CycleGAN has one.
    """

    def __init__(
        self,
        configuration: TrainingConfiguration,
        *,
        device: str,
        precision: str,
        task: TaskNetwork | None = None,
        processes: Processes | None = None,
        adaptation: Adaptation | None = None,
        purpose: str = "",
    ) -> None:
        self.configuration, self.device, self.precision = configuration, device, precision
        self.processes = processes or Processes(device)
        place = self.processes.device
        self.task, self.adaptation = None if task is None else task.to(place), adaptation
        # Networks with their optimizers; the average is what is saved.
        refiner, discriminator = build_networks(configuration, purpose=purpose)
        self.refiner, self.discriminator = refiner.to(place), discriminator.to(place)
        self.average = copy.deepcopy(self.refiner) if configuration.ema_decay else None
        self.refiner_optimizer = make_optimizer(self.refiner, configuration.refiner_optimizer)
        self.discriminator_optimizer = make_optimizer(self.discriminator, configuration.discriminator_optimizer)
        self.history = ImageHistory(configuration.history_size)
        self.objective = OBJECTIVES[configuration.objective]
        # Psi of self-regularization: features of the task network, a named function, or None for pixels.
        self.features = (
            self.task.features
            if self.task and configuration.self_regularization == "features"
            else SELF_REGULARIZATIONS[configuration.self_regularization]
        )

    @property
    def networks_of_refiner(self) -> Sequence[OptimizedNetwork]:
        """Networks that an adversarial update of the refiner trains: the refiner first, then those of the method."""
        return (OptimizedNetwork(self.refiner, self.refiner_optimizer),)

    @torch.no_grad()
    def refine(self, synthetic: Tensor) -> Tensor:
        """Refine images as the file that is saved does, by draws of their pixels; the result is on the CPU."""
        if self.adaptation is not None:
            synthetic = self.adaptation(synthetic)
        with self.autocast():
            refined: Tensor = self.saved_network(self._to_device(synthetic))
        return refined.cpu()

    def autocast(self) -> torch.autocast:
        """Return a context in which convolutions have the precision of the run."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def _batch_slice(self, count: int) -> BatchSlice:
        return self.processes.batch_slice(count * self.processes.num_processes)

    def _to_device(self, images: Tensor) -> Tensor:
        return images.to(self.processes.device, memory_format=torch.channels_last)

    def _descend(self, loss: Tensor, terms: Metrics, updated: Sequence[OptimizedNetwork]) -> Metrics:
        """Take one optimizer step for each network; return the terms as means over processes."""
        # The terms are logged as means over processes; the loss of this process gives its gradients.
        total, *means = self.processes.mean(torch.stack([loss, *terms.values()]))
        terms = dict(zip(terms, means, strict=True))
        if not torch.isfinite(total):
            found = ", ".join(f"{name} {value.item():.4g}" for name, value in terms.items())
            raise TrainingError(f"the loss is not finite ({found}); lower the learning rates, or set precision: fp32")
        # Backpropagate.
        for _, optimizer in updated:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # Update the weights by the gradients of the whole batch.
        for network, optimizer in updated:
            self.processes.average_gradients(network)
            optimizer.step()
        return terms

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is not None:
            for mean, weight in zip(self.average.parameters(), self.refiner.parameters(), strict=True):
                mean.lerp_(weight, 1 - self.configuration.ema_decay)

    # --- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that cannot be recomputed."""
        return {
            "refiner": self.refiner.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "refiner_optimizer": self.refiner_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.refiner.load_state_dict(state["refiner"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.refiner_optimizer.load_state_dict(state["refiner_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.history.load_state_dict(state["history"], self.processes.device)

    @property
    def saved_network(self) -> RefinerNetwork:
        """The refiner that is saved and shown: the average of the weights if there is one."""
        return self.refiner if self.average is None else self.average

    def save(self, path: Path, *, step: int, weights: dict[str, Tensor] | None = None) -> None:
        """Write the refiner file.

        Args:
            path: the file.
            step: step at which the weights were reached.
            weights: weights to save instead of the current ones.
        """
        network = self.saved_network
        if weights is not None:
            network = copy.deepcopy(network)
            network.load_state_dict(weights)
        # Paths and precision differ between equal runs; without a task network consistency means nothing. Sections of
        # statistics mean nothing here, except that of the adaptation.
        unused = {"adaptation", *STATISTICS}
        if self.adaptation is not None:
            unused -= {"adaptation", self.configuration.adaptation}
        left_out = {"data", "precision", *unused, *(() if self.task else ("consistency", "consistency_weight"))}
        summary = self.configuration.model_dump(mode="json", exclude=left_out)
        training = {"step": step, "precision": self.precision, "configuration": summary}
        if self.task is not None:
            training["estimator"] = self.task.digest
        whole = network if self.adaptation is None else adapted_refiner(self.adaptation, network)
        save_refiner(path, whole, training=training)

    def start_from(self, refiner: RefinerFile) -> None:
        """Start from the weights of another refiner.

        A run with an adaptation starts from a network, or from one behind the same adaptation; it keeps statistics of
        its own real images.

        Raises:
            RunError: its architecture differs.
        """
        network, found = refiner_architecture(self.configuration), refiner.architecture
        wanted: list[Architecture] = [network]
        if self.adaptation is not None:
            wanted.append(AdaptedArchitecture(self.adaptation.architecture, network))
        if found not in wanted:
            adapted = "adaptation, its section, " if isinstance(found, AdaptedArchitecture) else ""
            raise WrongRunError(
                f"the refiner to start from has another architecture ({refiner.metadata['architecture']}); set "
                f"{adapted}channels and the refiner section to the same values"
            )
        module = refiner.network()
        weights = (module.network if isinstance(module, AdaptedRefiner) else module).state_dict()
        self.refiner.load_state_dict(weights)
        if self.average is not None:
            self.average.load_state_dict(weights)
