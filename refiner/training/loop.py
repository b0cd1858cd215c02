"""The training loop, and the job that it runs to train a refiner.

:func:`run_training` is the loop: steps, evaluation, logs, sample sheets, checkpoints. :class:`RefinerTraining` is the
job for a refiner: pre-training of each network, then Algorithm 1 of the paper. An outer step updates the refiner K_g
times, each on a new synthetic batch. Then it updates the discriminator K_d times, each on a new synthetic and a new
real batch; half of the refined images come from the history.

Every random choice follows from (seed, purpose, position), and all other state is in the checkpoint. So a run that is
killed anywhere and started again by the same command ends with the same bits.

Source: arXiv:1612.07828, sections 2 and 3.
"""

import abc
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.devices import choose_precision
from refiner.core.errors import RunError, TrainingError
from refiner.core.rng import capture_globals, restore_globals, seed_globals, torch_generator
from refiner.runs.checkpoints import save_checkpoint
from refiner.runs.distributed import Processes
from refiner.runs.folder import RunFolder
from refiner.runs.health import PAGE, Monitor
from refiner.runs.metrics_log import MetricsLog
from refiner.training.batches import REAL_FOR_REFINER, BatchSource
from refiner.training.inputs import TrainingInputs
from refiner.training.methods.base import Metrics
from refiner.training.methods.build import precision_trial
from refiner.training.methods.registry import build_method
from refiner.training.sample_sheet import write_sample_sheet
from refiner.training.selection import CheckpointSelector, scored_images
from refiner.training.statistics import fitted_adaptation

log = logging.getLogger(__name__)

Report = Callable[[int, int, dict[str, float]], None]
"""Called after each step with the step, the number of steps, and the latest means."""

NEAR_IDENTITY = 0.05
"""Mean change of a pixel, in units of [-1, 1], that pre-training of the refiner should get below."""


class TrainingJob(abc.ABC):
    """The work that :func:`run_training` does.

    Attributes:
        step: steps done so far.
        total_steps: steps of the whole run.
        log_every: steps between two lines of the log.
        checkpoint_every: steps between two checkpoints.
        metrics: the log.
    """

    step: int
    total_steps: int
    log_every: int
    checkpoint_every: int
    metrics: MetricsLog

    @abc.abstractmethod
    def take_step(self) -> None:
        """Update the networks once, and add what was measured to the log."""

    @abc.abstractmethod
    def save(self) -> None:
        """Write a checkpoint, and the file that holds the result."""

    @property
    def is_finished(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.total_steps

    def evaluate(self) -> dict[str, float]:
        """Return metrics of an evaluation that is due at this step, or nothing."""
        return {}

    def after_log(self, means: Mapping[str, float]) -> None:  # noqa: B027 (a job may do without)
        """React to a line of the log."""

    def write_samples(self) -> None:  # noqa: B027 (a job may do without)
        """Write sample images that are due at this step."""


def run_training(job: TrainingJob, report: Report, is_stopping: Callable[[], bool]) -> None:
    """Run a job to its last step.

    Args:
        job: the job, at any step.
        report: called after each step.
        is_stopping: whether to save and stop after the current step.

    Raises:
        RunError: the job was stopped; the same command resumes it.
        TrainingError: a loss is not finite.
    """
    means: dict[str, float] = {}
    with job.metrics.open(job.step):
        if job.step == 0:
            job.write_samples()
        while not job.is_finished:
            # Update the networks.
            try:
                job.take_step()
            except TrainingError as error:
                raise TrainingError(f"step {job.step + 1}: {error}") from error
            job.step += 1
            stopping = is_stopping()

            # Evaluate, and write the means since the last line.
            evaluation = job.evaluate()
            if job.is_finished or job.step % job.log_every == 0 or evaluation:
                line = job.metrics.write(job.step, evaluation)
                means = means | line
                job.after_log(line)

            # Write a sample sheet and a checkpoint.
            job.write_samples()
            if job.is_finished or job.step % job.checkpoint_every == 0 or stopping:
                job.save()

            # Report, and stop on request.
            report(job.step, job.total_steps, means)
            if stopping and not job.is_finished:
                raise RunError(
                    f"training stopped at step {job.step} of {job.total_steps}; the same command resumes the run"
                )


class RefinerTraining(TrainingJob):
    """Training of a refiner: its method, its position in the data, and the selection of the best weights.

    Args:
        configuration: of the run.
        folder: the run folder.
        inputs: of the run.
        device: ``auto``, ``cpu`` or ``cuda``.
        processes: the processes that train together; None for a single one.

    Raises:
        RunError: the run was started with other inputs.
    """

    def __init__(
        self,
        configuration: TrainingConfiguration,
        folder: RunFolder,
        inputs: TrainingInputs,
        *,
        device: str,
        processes: Processes | None = None,
    ) -> None:
        self.configuration, self.folder, self.domains = configuration, folder, inputs.domains
        # Device and precision: chosen by the main process, and read back by the others and on resume.
        device = folder.resolve_device(device)  # once, so that networks and images are on one device
        self.processes = processes or Processes(device)
        seed_globals(configuration.seed)
        digests = inputs.digests()
        device, precision = self.processes.main_process_first(
            lambda: folder.settle_environment(
                device, digests, self._choose_precision, num_processes=self.processes.num_processes
            )
        )
        # Networks, starting from another refiner's weights on request. Statistics follow from the data and the seed.
        adaptation = fitted_adaptation(configuration, inputs.domains["real"])
        options = {"task": inputs.task, "processes": self.processes, "adaptation": adaptation}
        self.method = build_method(configuration, device=device, precision=precision, **options)
        if inputs.weights is not None:
            self.method.start_from(inputs.weights)
        # Data, selection of the best weights, and logs.
        self.batches = BatchSource(inputs, configuration, self.processes, adaptation)
        scored = scored_images(inputs.domains, configuration.seed) if configuration.score_every else None
        self.selector = None if scored is None else CheckpointSelector(scored, seed=configuration.seed)
        self.monitor = Monitor(self.method.objective.chance_loss)
        is_main = self.processes.is_main_process
        self.metrics = MetricsLog(folder, batch_size=configuration.batch_size, writes=is_main)
        self.step, self.total_steps = 0, configuration.total_steps
        self.log_every, self.checkpoint_every = configuration.log_every, configuration.checkpoint_every

    def _choose_precision(self, device: str) -> str:
        chosen = self.configuration.precision
        return choose_precision(device, precision_trial(self.configuration, device)) if chosen == "auto" else chosen

    # --- one step ----------------------------------------------------------------------------------------------

    def take_step(self) -> None:
        """Take one step: pre-train the refiner, then the discriminator, then alternate (Algorithm 1)."""
        configuration, pretraining = self.configuration, self.configuration.pretraining
        # Phase 1 pre-trains the refiner, phase 2 the discriminator.
        if self.step < pretraining.refiner_steps:
            self.metrics.add(self._update_refiner(adversarial=False))
        elif self.step < pretraining.refiner_steps + pretraining.discriminator_steps:
            self.metrics.add(self._update_discriminator())
        else:
            # K_g updates of the refiner, then K_d of the discriminator; the original GAN has the opposite order.
            updates: list[Callable[[], Metrics]] = [self._update_refiner] * configuration.refiner_updates
            updates += [self._update_discriminator] * configuration.discriminator_updates
            for update in updates if configuration.refiner_first else reversed(updates):
                self.metrics.add(update())

    def _update_refiner(self, *, adversarial: bool = True) -> Metrics:
        synthetic, conditions = self.batches.draw("synthetic")
        generator = self._generator("update_refiner", "synthetic")
        needs_real = adversarial and self.method.needs_real
        real = self.batches.draw("real", REAL_FOR_REFINER)[0] if needs_real else None
        return self.method.update_refiner(synthetic, generator, adversarial=adversarial, real=real, **conditions)

    def _update_discriminator(self) -> Metrics:
        (synthetic, conditions), (real, _) = self.batches.draw("synthetic"), self.batches.draw("real")
        generator = self._generator("history", "real")
        # The count includes the batch that was just drawn.
        penalize = self.batches.batches_seen["real"] % self.configuration.discriminator.r1_every == 0
        # Methods on pairs compare a refined image with the real image of the same scene.
        real, gaze = conditions.get("partner", real), conditions.get("gaze")
        return self.method.update_discriminator(synthetic, real, generator, penalize=penalize, gaze=gaze)

    def _generator(self, purpose: str, domain: str) -> torch.Generator:
        """Return the random source of one update; the words of its purpose are part of the random stream."""
        return torch_generator(self.configuration.seed, purpose, self.batches.batches_seen[domain])

    # --- evaluation and logging --------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Score the refiner without labels, and keep the best weights."""
        every, pretraining = self.configuration.score_every, self.configuration.pretraining
        is_adversarial = self.step > pretraining.refiner_steps + pretraining.discriminator_steps
        is_due = every and is_adversarial and (self.step % every == 0 or self.is_finished)
        if self.selector is None or not is_due or not self.processes.is_main_process:
            return {}
        refined = self.method.refine(self.selector.synthetic)
        return self.selector.update(refined, self.method.saved_network.state_dict(), step=self.step)

    def after_log(self, means: Mapping[str, float]) -> None:
        """Warn about unhealthy training."""
        if not self.processes.is_main_process:
            return
        for warning in self.monitor.warnings(means):
            log.warning("step %d: %s", self.step, warning)
        if self.step == self.configuration.pretraining.refiner_steps and means.get("change", 0) > NEAR_IDENTITY:
            log.warning(
                "step %d: after pre-training the refiner is %.2f away from the identity, expected %.2f or less; set "
                "more pretraining.refiner_steps or another learning rate (%s#pretraining)",
                *(self.step, means["change"], NEAR_IDENTITY, PAGE),
            )

    def write_samples(self) -> None:
        """Write a sheet: renders, the same refined, and real images; the same images at every step."""
        is_due = self.is_finished or self.step % self.configuration.sample_every == 0
        if not is_due or not self.processes.is_main_process:
            return
        write_sample_sheet(self.folder.samples, self.step, self.domains, self.method.refine)

    # --- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {
            "step": self.step,
            "batches_seen": self.batches.state_dict(),
            "metrics": self.metrics.state_dict(),
            "method": self.method.state_dict(),
            "selector": None if self.selector is None else self.selector.state_dict(),
            "randomness": capture_globals(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.step = state["step"]
        self.batches.load_state_dict(state["batches_seen"])
        self.metrics.load_state_dict(state["metrics"])
        # Networks, optimizers and history.
        self.method.load_state_dict(state["method"])
        if self.selector is not None:
            self.selector.load_state_dict(state["selector"])
        restore_globals(state["randomness"])

    def save(self) -> None:
        """Write a checkpoint and the refiner file."""
        if self.processes.is_main_process:
            save_checkpoint(self.folder.checkpoints, self.step, self.state_dict())
        self.save_refiner()

    def save_refiner(self) -> None:
        """Write the best weights if scores are computed, else the current ones."""
        if not self.processes.is_main_process:
            return
        # The selector has no weights before the first score.
        if self.selector is not None and self.selector.weights:
            self.method.save(self.folder.refiner, step=self.selector.step, weights=self.selector.weights)
        else:
            self.method.save(self.folder.refiner, step=self.step)
