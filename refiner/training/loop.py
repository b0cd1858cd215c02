"""The training loop: pre-train the refiner, pre-train the discriminator, then let them play.

Algorithm 1 of the paper: an outer step updates the refiner K_g times, each on a new synthetic batch, then the
discriminator K_d times, each on a new synthetic and a new real batch, the refined half mixed with the history.

Every random choice follows from (seed, purpose, position), and what cannot be recomputed is in the checkpoint,
so a run killed anywhere and started again by the same command ends with the same bits.

Source: arXiv:1612.07828, sections 2 and 3.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.tracking import TensorBoardTracker
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.devices import choose_precision, keep_freed_memory, resolve_device
from refiner.core.errors import RunError, TrainingError
from refiner.core.rng import capture_globals, restore_globals, seed_globals, torch_generator
from refiner.core.sampler import Sampler
from refiner.core.signals import Interruption
from refiner.images.arrays import contact_sheet, to_uint8
from refiner.images.io import write_image
from refiner.runs.checkpoints import load_checkpoint, save_checkpoint
from refiner.runs.distributed import Processes
from refiner.runs.folder import RunFolder, open_run
from refiner.runs.health import PAGE, Monitor
from refiner.training.inputs import TrainingInputs, load_inputs
from refiner.training.methods.build import training_trial
from refiner.training.methods.registry import build_method
from refiner.training.selection import CheckpointSelector, scored_images

log = logging.getLogger(__name__)

Report = Callable[[int, int, dict[str, float]], None]
"""Called after each step with the step, the number of steps and the latest means."""

SHEET_COLUMNS = 12

TIED = "tied photographs"
"""The order of those that a rival's refiner looks at."""

NEAR_IDENTITY = 0.05
"""Mean change of a pixel, in units of [-1, 1], that pre-training of the refiner should get below."""


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
    keep_freed_memory()
    processes = Processes(resolve_device(device))
    with contextlib.ExitStack() as stack:
        stack.callback(processes.end_training)
        with processes.errors_of_any_process():  # before the run folder is touched: a typo must cost nothing
            materials = load_inputs(configuration, start_from=start_from, processes=processes.count)
        with processes.errors_of_any_process():  # the first process alone writes
            folder = RunFolder(run)
            if processes.is_main_process:
                folder = stack.enter_context(open_run(run, configuration, new=new))
                folder.write_rejected(materials.rejected(configuration))
        with processes.errors_of_any_process():
            state = processes.main_process_first(lambda: load_checkpoint(folder.checkpoints))
            training = Training(configuration, folder, materials, device=device, processes=processes)
            if state is not None:
                training.load_state_dict(state)
                log.info("going on from step %d of %d", training.step, configuration.total_steps)
        interruption = stack.enter_context(Interruption())
        with processes.errors_of_main_process((TrainingError, RunError)):
            training.run(report, interruption)
        processes.wait()
    return folder.refiner


class Training:
    """The position in the data and in the schedule, and what is written on the way.

    Args:
        configuration: what to do.
        folder: where it is written.
        materials: what it starts from.
        device: ``auto``, ``cpu`` or ``cuda``.
        processes: that train together; None is one alone.

    Raises:
        RunError: the run was started on other data or from other weights.
    """

    def __init__(
        self,
        configuration: TrainingConfiguration,
        folder: RunFolder,
        materials: TrainingInputs,
        *,
        device: str,
        processes: Processes | None = None,
    ) -> None:
        self.configuration, self.folder = configuration, folder
        self.processes = processes or Processes(resolve_device(device))
        self.rows = self.processes.rows(configuration.batch_size)
        self.domains, self.augmentations = materials.domains, materials.augmentations
        self.samplers = {
            name: Sampler(len(domain), configuration.batch_size, seed=configuration.seed, purpose=name)
            for name, domain in self.domains.items()
        }
        if configuration.correspondence != "none":  # photographs that the refiner's updates look at
            self.samplers[TIED] = Sampler(
                len(self.domains["real"]), configuration.batch_size, seed=configuration.seed, purpose=TIED
            )
        seed_globals(configuration.seed)
        task, inputs = materials.task, materials.digests()
        device, precision = self.processes.main_process_first(
            lambda: folder.settle_environment(device, inputs, self._choose_precision, processes=self.processes.count)
        )
        self.method = build_method(configuration, device=device, precision=precision, task=task, processes=processes)
        if materials.weights is not None:
            self.method.take_weights(materials.weights)
        scored = scored_images(self.domains, configuration.seed) if configuration.score_every else None
        self.scores = None if scored is None else CheckpointSelector(scored, seed=configuration.seed)
        self.step = 0
        self.drawn = dict.fromkeys(self.samplers, 0)  # batches taken so far: the position in the data
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def _choose_precision(self, device: str) -> str:
        chosen = self.configuration.precision
        return choose_precision(device, training_trial(self.configuration, device)) if chosen == "auto" else chosen

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "step": self.step,
            "drawn": dict(self.drawn),
            "sums": self.sums,
            "counts": self.counts,
            "method": self.method.state_dict(),
            "scores": None if self.scores is None else self.scores.state_dict(),
            "randomness": capture_globals(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.step, self.drawn = state["step"], dict(state["drawn"])
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])
        self.method.load_state_dict(state["method"])
        if self.scores is not None:
            self.scores.load_state_dict(state["scores"])
        restore_globals(state["randomness"])

    def run(self, report: Report, interruption: Interruption) -> None:
        """All steps that are left, with logs, sample sheets and checkpoints on the way."""
        configuration, total = self.configuration, self.configuration.total_steps
        tracker = self._open_logs()
        monitor, means, start, first = (
            Monitor(self.method.objective.ignorance),
            dict[str, float](),
            time.perf_counter(),
            self.step,
        )
        if self.step == 0:
            self.write_samples()
        while self.step < total:
            try:
                self.take_step()
            except TrainingError as error:
                raise TrainingError(f"step {self.step + 1}: {error}") from error
            self.step += 1
            last, stopping = self.step == total, self.processes.any(interruption.requested)
            if last or self.step % configuration.log_every == 0:
                seconds = time.perf_counter() - start
                rate = (self.step - first) * configuration.batch_size / seconds
                means = self._log(tracker, {"seconds": seconds, "images_per_second": rate})
                for warning in monitor.warnings(means):
                    log.warning("step %d: %s", self.step, warning)
            if self.step == configuration.pretraining.refiner_steps and means.get("change", 0) > NEAR_IDENTITY:
                log.warning(
                    "step %d: pre-training leaves the refiner %.2f away from the identity, expected %.2f or less; set "
                    "more pretraining.refiner_steps or another learning rate (%s#pretraining)",
                    *(self.step, means["change"], NEAR_IDENTITY, PAGE),
                )
            if last or self.step % configuration.sample_every == 0:
                self.write_samples()
            if last or self.step % configuration.checkpoint_every == 0 or stopping:
                self.save()
            report(self.step, total, means)
            if stopping and not last:
                raise RunError(f"stopped at step {self.step} of {total}; the same command goes on from there")
        self._save_refiner()  # a kill may have come between checkpoint and refiner
        if tracker is not None:
            tracker.finish()

    def _open_logs(self) -> TensorBoardTracker | None:
        """The metrics, cut back to this step; none in another process than the first."""
        if not self.processes.is_main_process:
            return None
        self.folder.cut_metrics(self.step)
        tracker = TensorBoardTracker("", str(self.folder.path), purge_step=self.step + 1)
        tracker.start()
        return tracker

    def take_step(self) -> None:
        """One outer step, of whichever phase it falls into."""
        configuration, pretraining = self.configuration, self.configuration.pretraining
        if self.step < pretraining.refiner_steps:
            self._update_refiner(adversarial=False)
        elif self.step < pretraining.refiner_steps + pretraining.discriminator_steps:
            self._update_discriminator()
        else:
            updates: list[Callable[[], None]] = [self._update_refiner] * configuration.refiner_updates
            updates += [self._update_discriminator] * configuration.discriminator_updates
            for update in updates if configuration.refiner_first else reversed(updates):
                update()

    def _update_refiner(self, *, adversarial: bool = True) -> None:
        synthetic, beside = self._draw("synthetic")
        generator = torch_generator(self.configuration.seed, "update_refiner", self.drawn["synthetic"])
        real = self._draw("real", TIED)[0] if adversarial and self.method.needs_real else None
        self._add(self.method.update_refiner(synthetic, generator, adversarial=adversarial, real=real, **beside))

    def _update_discriminator(self) -> None:
        (synthetic, beside), (real, _) = self._draw("synthetic"), self._draw("real")
        generator = torch_generator(self.configuration.seed, "history", self.drawn["real"])
        penalize = self.drawn["real"] % self.configuration.discriminator.r1_every == 0
        gaze = beside.get("gaze")
        self._add(self.method.update_discriminator(synthetic, real, generator, penalize=penalize, gaze=gaze))

    def _draw(self, name: str, order: str = "") -> tuple[Tensor, dict[str, Tensor]]:
        """Of the next batch, in the domain's own order or another, the rows of this process, and what lies beside."""
        order = order or name
        numbers = self.samplers[order].batch(self.drawn[order])[self.rows.slice]
        batch, beside = self.domains[name].batch(numbers), self.domains[name].beside(numbers)
        if name in self.augmentations:
            batch = self.augmentations[name].planes(batch, position=(self.drawn[order],), first=self.rows.start)
        self.drawn[order] += 1
        return batch, beside

    def _add(self, metrics: dict[str, Tensor]) -> None:
        for name, value in metrics.items():
            value = value.detach().double().cpu()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def _log(self, tracker: TensorBoardTracker | None, clock: dict[str, float]) -> dict[str, float]:
        """Write the means since the last log line, each over the updates that measured it."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        if tracker is None:
            return means
        if self.scores is not None and self._is_scored():
            refined = self.method.refine(self.scores.synthetic)
            means |= self.scores.judge(refined, self.method.saved_network.state_dict(), step=self.step)
        rounded = {name: float(f"{value:.6g}") for name, value in {**means, **clock}.items()}
        self.folder.log_metrics({"step": self.step, **rounded})
        tracker.log(means, step=self.step)
        return means

    def _is_scored(self) -> bool:
        every, pretraining = self.configuration.score_every, self.configuration.pretraining
        adversarial = self.step > pretraining.refiner_steps + pretraining.discriminator_steps
        return adversarial and (self.step % every == 0 or self.step == self.configuration.total_steps)

    def save(self) -> None:
        """Write a checkpoint and the refiner file."""
        if self.processes.is_main_process:
            save_checkpoint(self.folder.checkpoints, self.step, self.state_dict())
        self._save_refiner()

    def _save_refiner(self) -> None:
        """The best weights where they are scored, else the present ones."""
        if not self.processes.is_main_process:
            return
        if self.scores is not None and self.scores.weights:
            self.method.save(self.folder.refiner, step=self.scores.step, weights=self.scores.weights)
        else:
            self.method.save(self.folder.refiner, step=self.step)

    def write_samples(self) -> None:
        """A sheet of the same renders every time, refined below them, photographs at the bottom."""
        if not self.processes.is_main_process:
            return
        synthetic, real = (d.batch(range(min(SHEET_COLUMNS, len(d)))) for d in self.domains.values())
        rows = [
            [to_uint8(image) for image in images.numpy()] for images in (synthetic, self.method.refine(synthetic), real)
        ]
        scale = max(1, math.ceil(72 / self.configuration.size[0]))
        write_image(self.folder.samples / f"step-{self.step:08d}.png", contact_sheet(rows, scale=scale))
