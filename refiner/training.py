"""The training loop: pre-train the refiner, pre-train the discriminator, then let them play.

Algorithm 1 of the paper: an outer step updates the refiner K_g times, each on a new synthetic batch, then the
discriminator K_d times, each on a new synthetic and a new real batch, the refined half mixed with the history.

Every random choice follows from (seed, purpose, position), and what cannot be recomputed is in the checkpoint,
so a run killed anywhere and started again by the same command ends with the same bits.

Source: arXiv:1612.07828, sections 2 and 3.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import TensorBoardTracker
from torch import Tensor

from refiner.checkpoints import load_checkpoint, save_checkpoint
from refiner.configuration import OptimizerSection, TrainingConfiguration
from refiner.data import ImageDomain, Sampler, load_domain
from refiner.errors import DataError, RunError, TrainingError
from refiner.hardware import choose_precision, environment, resolve_device
from refiner.history import ImageHistory
from refiner.image_files import write_image
from refiner.images import contact_sheet, grey_levels
from refiner.interruption import Interruption
from refiner.losses import OBJECTIVES, self_regularization_loss
from refiner.monitors import Monitor, discriminator_figures, refiner_figures
from refiner.networks import PatchDiscriminator, RefinerNetwork
from refiner.preflight import compare_domains
from refiner.randomness import capture_globals, derived_seed, restore_globals, seed_globals, torch_generator
from refiner.refiner_files import load_refiner, save_refiner
from refiner.runs import RunFolder, open_run

log = logging.getLogger(__name__)

Report = Callable[[int, int, dict[str, float]], None]
"""Called after each step with the step, the number of steps and the latest means."""

SHEET_COLUMNS = 12


def train(
    configuration: TrainingConfiguration,
    run: Path,
    *,
    device: str = "auto",
    new: bool = False,
    start_from: Path | None = None,
    report: Report = lambda step, steps, means: None,
) -> Path:
    """Train a refiner, or go on where the run was stopped.

    Args:
        configuration: what to do; on a run that exists it must be the one the run was started with.
        run: the run folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        new: throw the run away that is there.
        start_from: a refiner file or run whose weights a new run starts from.
        report: told about each step.

    Returns:
        The refiner file.

    Raises:
        RefinerError: the data, the configuration or the run folder cannot be used, or a loss is not finite.
    """
    with open_run(run, configuration, new=new) as folder, Interruption() as interruption:
        renders, photographs = _load_data(configuration, folder)
        state = load_checkpoint(folder.checkpoints)
        trainer = Trainer(configuration, folder, renders, photographs, device=device)
        if state is not None:
            trainer.load_state_dict(state)
            log.info("going on from step %d of %d", trainer.step, configuration.total_steps)
        elif start_from is not None:
            trainer.take_weights(start_from)
        trainer.run(report, interruption)
    return folder.refiner


def _load_data(configuration: TrainingConfiguration, folder: RunFolder) -> tuple[ImageDomain, ImageDomain]:
    domains = []
    rejected: dict[str, str] = {}
    for name in ("renders", "photographs"):
        path = getattr(configuration.data, name)
        domain = load_domain(path, key=f"data.{name}", size=configuration.size, channels=configuration.channels)
        rejected |= {str(Path(path) / sample): reason for sample, reason in domain.rejected.items()}
        log.info("%s: %d images%s", name, len(domain), f", {len(domain.rejected)} left out" if domain.rejected else "")
        domains.append(domain)
    folder.write_rejected(rejected)
    if configuration.data.preflight != "skip":
        findings = compare_domains(domains[0], domains[1], batch_size=configuration.batch_size)
        for finding in findings:
            log.warning("pre-flight: %s; %s", finding.message, finding.remedy)
        if findings and configuration.data.preflight == "refuse":
            raise DataError(f"pre-flight: {findings[0].message}; {findings[0].remedy}, or set data.preflight: warn")
    return domains[0], domains[1]


class Trainer:
    """Both networks, their optimizers and the history, and the steps that move them.

    What has state is listed once, in :meth:`state_dict`.
    """

    def __init__(
        self,
        configuration: TrainingConfiguration,
        folder: RunFolder,
        renders: ImageDomain,
        photographs: ImageDomain,
        *,
        device: str,
    ) -> None:
        self.configuration = configuration
        self.folder = folder
        self.renders, self.photographs = renders, photographs
        seed_globals(configuration.seed)
        refiner, discriminator = _build_networks(configuration)
        self._resolve_environment(device, refiner)
        self.accelerator = Accelerator(mixed_precision="no", cpu=self.device == "cpu")
        refiner, discriminator = (
            refiner.to(memory_format=torch.channels_last),
            discriminator.to(memory_format=torch.channels_last),
        )
        self.refiner, self.discriminator, self.refiner_optimizer, self.discriminator_optimizer = (
            self.accelerator.prepare(
                refiner,
                discriminator,
                _optimizer(refiner, configuration.refiner_optimizer),
                _optimizer(discriminator, configuration.discriminator_optimizer),
            )
        )
        self.average = copy.deepcopy(refiner) if configuration.ema_decay else None
        self.history = ImageHistory(configuration.history_size)
        batch, seed = configuration.batch_size, configuration.seed
        self.render_sampler = Sampler(len(renders), batch, seed=seed, purpose="renders")
        self.photograph_sampler = Sampler(len(photographs), batch, seed=seed, purpose="photographs")
        self.objective = OBJECTIVES[configuration.objective]
        self.step = 0
        self.drawn = {"renders": 0, "photographs": 0}  # batches taken so far: the position in the data
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def _resolve_environment(self, device: str, refiner: RefinerNetwork) -> None:
        """Device, precision and threads: chosen once, then read back, so that a resumed run cannot differ."""
        recorded = self.folder.read_environment()
        try:
            self.device = resolve_device(recorded.get("device", device) if device == "auto" else device)
        except ValueError as error:
            raise RunError(str(error)) from error
        if recorded:
            if recorded["device"] != self.device or recorded["processor"] != environment()["processor"]:
                log.warning("this run was started on another machine or device: it goes on, but not to the same bits")
            torch.set_num_threads(recorded["threads"])
            self.precision = recorded["precision"]
            return
        self.precision = self.configuration.precision
        if self.precision == "auto":
            self.precision = choose_precision(self.device, self._trial(refiner))
        chosen = {"device": self.device, "precision": self.precision, "backend": "eager"}
        self.folder.write_environment({**environment(), **chosen})

    def _trial(self, refiner: RefinerNetwork) -> Callable[[str], None]:
        network = copy.deepcopy(refiner).to(self.device).to(memory_format=torch.channels_last)
        size = (min(self.configuration.batch_size, 16), self.configuration.channels, *self.configuration.size)
        images = torch.zeros(size, device=self.device)

        def trial(precision: str) -> None:
            with torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16"):
                network(images).mean().backward()

        return trial

    # --- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that a run cannot recompute."""
        unwrap = self.accelerator.unwrap_model
        return {
            "step": self.step,
            "drawn": dict(self.drawn),
            "refiner": unwrap(self.refiner).state_dict(),
            "discriminator": unwrap(self.discriminator).state_dict(),
            "refiner_optimizer": self.refiner_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "history": self.history.state_dict(),
            "sums": self.sums,
            "counts": self.counts,
            "randomness": capture_globals(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        unwrap = self.accelerator.unwrap_model
        self.step, self.drawn = state["step"], dict(state["drawn"])
        unwrap(self.refiner).load_state_dict(state["refiner"])
        unwrap(self.discriminator).load_state_dict(state["discriminator"])
        self.refiner_optimizer.load_state_dict(state["refiner_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.history.load_state_dict(state["history"], self.accelerator.device)
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])
        restore_globals(state["randomness"])

    def take_weights(self, path: Path) -> None:
        """Start from another refiner's weights.

        Raises:
            RunError: its architecture is another.
        """
        network, metadata = load_refiner(path)
        if metadata["architecture"] != architecture(self.configuration):
            raise RunError(
                f"{path}: is a refiner of another architecture ({metadata['architecture']}); set channels and the "
                "refiner section to the same"
            )
        self.accelerator.unwrap_model(self.refiner).load_state_dict(network.state_dict())
        if self.average is not None:
            self.average.load_state_dict(network.state_dict())

    # --- the loop ----------------------------------------------------------------------------------------------

    def run(self, report: Report, interruption: Interruption) -> None:
        """All steps that are left, with logs, sample sheets and checkpoints on the way."""
        configuration, total = self.configuration, self.configuration.total_steps
        self.folder.cut_metrics(self.step)
        tracker = TensorBoardTracker("", str(self.folder.path), purge_step=self.step + 1)
        tracker.start()
        monitor, means, start, first = Monitor(), dict[str, float](), time.perf_counter(), self.step
        if self.step == 0:
            self.write_samples()
        while self.step < total:
            self.take_step()
            self.step += 1
            if self.step % configuration.log_every == 0 or self.step == total:
                seconds = time.perf_counter() - start
                rate = (self.step - first) * configuration.batch_size / seconds
                means = self._log(tracker, {"seconds": seconds, "images_per_second": rate})
                if "discriminator_loss" in means and "adversarial" in means:
                    for warning in monitor.warnings(means):
                        log.warning("step %d: %s", self.step, warning)
            if self.step % configuration.sample_every == 0 or self.step == total:
                self.write_samples()
            if self.step % configuration.checkpoint_every == 0 or self.step == total or interruption.requested:
                self.save()
            report(self.step, total, means)
            if interruption.requested and self.step < total:
                raise RunError(f"stopped at step {self.step} of {total}; the same command goes on from there")
        if not self.folder.refiner.exists():
            self.save()
        tracker.finish()

    def take_step(self) -> None:
        """One outer step, of whichever phase it falls into."""
        configuration, pretraining = self.configuration, self.configuration.pretraining
        if self.step < pretraining.refiner_steps:
            self.update_refiner(adversarial=False)
        elif self.step < pretraining.refiner_steps + pretraining.discriminator_steps:
            self.update_discriminator()
        else:
            updates: list[Callable[[], None]] = [self.update_refiner] * configuration.refiner_updates
            updates += [self.update_discriminator] * configuration.discriminator_updates
            for update in updates if configuration.refiner_first else reversed(updates):
                update()

    def update_refiner(self, *, adversarial: bool = True) -> None:
        """One step of the refiner: fool the discriminator, stay near the render (equation 1)."""
        synthetic = self._draw("renders")
        self.discriminator.requires_grad_(False)  # differentiable, but frozen
        with self._autocast():
            refined = self.refiner(synthetic)
            regularization = self_regularization_loss(refined, synthetic)
            if adversarial:
                fooling = self.objective.refiner(self.discriminator(refined))
                loss = fooling + self.configuration.self_regularization_weight * regularization
                terms = {"self_regularization": regularization, "adversarial": fooling}
            else:
                loss, terms = regularization, {"self_regularization": regularization}
        self.discriminator.requires_grad_(True)
        self._descend(loss, self.refiner_optimizer, terms)
        self._average_weights()
        self._add(terms | refiner_figures(synthetic, refined))

    def update_discriminator(self) -> None:
        """One step of the discriminator on refined images, fresh and of the history, and on photographs."""
        synthetic, real = self._draw("renders"), self._draw("photographs")
        with self._autocast(), torch.no_grad():
            fresh = self.refiner(synthetic)  # no gradient reaches the refiner
        generator = torch_generator(self.configuration.seed, "history", self.drawn["photographs"])
        refined = self.history.mix(fresh, generator)
        with self._autocast():
            refined_logits, real_logits = self.discriminator(refined), self.discriminator(real)
            smoothing = self.configuration.label_smoothing
            loss = self.objective.discriminator(refined_logits, real_logits, smoothing=smoothing)
        terms = {"discriminator_loss": loss}
        self._descend(loss, self.discriminator_optimizer, terms)
        self._add(terms | discriminator_figures(refined_logits, real_logits))

    def _draw(self, domain: str) -> Tensor:
        sampler = self.render_sampler if domain == "renders" else self.photograph_sampler
        images = self.renders if domain == "renders" else self.photographs
        batch = images.batch(sampler.batch(self.drawn[domain]))
        self.drawn[domain] += 1
        return batch.to(self.accelerator.device, memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def _descend(self, loss: Tensor, optimizer: Any, terms: dict[str, Tensor]) -> None:
        if not torch.isfinite(loss):
            found = ", ".join(f"{name} {float(value):.4g}" for name, value in terms.items())
            raise TrainingError(
                f"step {self.step + 1}: the loss is not finite ({found}); lower the learning rates, or set "
                "precision: fp32"
            )
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        optimizer.step()

    def _average_weights(self) -> None:
        if self.average is None:
            return
        with torch.no_grad():
            weights = self.accelerator.unwrap_model(self.refiner).parameters()
            for mean, weight in zip(self.average.parameters(), weights, strict=True):
                mean.lerp_(weight, 1 - self.configuration.ema_decay)

    # --- what is written ---------------------------------------------------------------------------------------

    def _add(self, figures: dict[str, Tensor]) -> None:
        for name, value in figures.items():
            value = value.detach().double().cpu()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def _log(self, tracker: TensorBoardTracker, clock: dict[str, float]) -> dict[str, float]:
        """Write the means since the last log line, each over the updates that measured it."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        rounded = {name: float(f"{value:.6g}") for name, value in {**means, **clock}.items()}
        self.folder.log_metrics({"step": self.step, **rounded})
        tracker.log(means, step=self.step)
        return means

    @property
    def saved_network(self) -> RefinerNetwork:
        """The network that is saved and shown: the running mean where there is one."""
        network: RefinerNetwork = self.accelerator.unwrap_model(self.refiner)
        return network if self.average is None else self.average

    def save(self) -> None:
        """Write a checkpoint and the refiner file."""
        save_checkpoint(self.folder.checkpoints, self.step, self.state_dict())
        summary = self.configuration.model_dump(mode="json", exclude={"data", "precision"})
        save_refiner(
            self.folder.refiner,
            self.saved_network,
            architecture=architecture(self.configuration),
            training={"step": self.step, "precision": self.precision, "configuration": summary},
        )

    @torch.no_grad()
    def write_samples(self) -> None:
        """A sheet of the same renders every time, refined below them, photographs at the bottom."""
        chosen = [domain.batch(range(min(SHEET_COLUMNS, len(domain)))) for domain in (self.renders, self.photographs)]
        with self._autocast():
            refined = self.saved_network(chosen[0].to(self.accelerator.device)).cpu()
        rows = [[grey_levels(image) for image in images.numpy()] for images in (chosen[0], refined, chosen[1])]
        scale = max(1, math.ceil(72 / self.configuration.size[0]))
        write_image(self.folder.samples / f"step-{self.step:08d}.png", contact_sheet(rows, scale=scale))


def architecture(configuration: TrainingConfiguration) -> dict[str, Any]:
    """The arguments of :class:`RefinerNetwork` that a configuration asks for."""
    return {"channels": configuration.channels, **configuration.refiner.model_dump()}


def _build_networks(configuration: TrainingConfiguration) -> tuple[RefinerNetwork, PatchDiscriminator]:
    """Both networks, with initial weights that follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(configuration.seed, "refiner"))
        refiner = RefinerNetwork(**architecture(configuration))
        torch.manual_seed(derived_seed(configuration.seed, "discriminator"))
        discriminator = PatchDiscriminator(configuration.channels, **configuration.discriminator.model_dump())
    return refiner, discriminator


def _optimizer(network: torch.nn.Module, section: OptimizerSection) -> torch.optim.Optimizer:
    if section.name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=section.learning_rate, momentum=section.momentum)
    betas = (section.beta1, section.beta2)
    return torch.optim.Adam(network.parameters(), lr=section.learning_rate, betas=betas)
