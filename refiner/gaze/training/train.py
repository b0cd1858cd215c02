"""Training of a gaze estimator, by the same loop as that of a refiner.

Every random choice follows from (seed, purpose, step), and all other state is in the checkpoint. So a run that is
killed anywhere and started again by the same command ends with the same bits.
"""

import logging
from pathlib import Path

from refiner.core.errors import UsageError
from refiner.core.signals import Interruption
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import load_patches, split_held_out
from refiner.gaze.training.batches import build_augmentation
from refiner.gaze.training.co_teaching import CoTeaching
from refiner.gaze.training.job import GazeTraining
from refiner.gaze.training.refining import load_batch_refiner
from refiner.gaze.training.saving import fit_neighbours
from refiner.gaze.training.unlabelled import UnlabelledPatches, load_unlabelled
from refiner.runs.checkpoints import load_checkpoint
from refiner.runs.distributed import num_processes
from refiner.runs.folder import open_run
from refiner.training.loop import Report, run_training

log = logging.getLogger(__name__)


def train_estimator(
    configuration: GazeConfiguration,
    run: Path,
    *,
    device: str = "auto",
    new: bool = False,
    report: Report = lambda step, steps, means: None,
) -> Path:
    """Train a gaze estimator, or resume a run.

    Args:
        configuration: all settings. An existing run must have been started with the same, except for fewer ``steps``.
        run: the run folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        new: delete an existing run first.
        report: called after each step.

    Returns:
        The estimator file; the first of a run with co-teaching.

    Raises:
        RefinerError: the data, the configuration or the run folder cannot be used, or a loss is not finite.
    """
    if num_processes() > 1:
        raise UsageError("gaze train runs in one process; start it without accelerate launch")
    # Check the inputs before the run folder is touched: a typo must cost nothing.
    augmentation, refiner = build_augmentation(configuration), load_batch_refiner(configuration)
    patches = load_patches(
        configuration.data.train,
        size=configuration.size,
        equalize=configuration.equalize and refiner is None,
        head_pose=bool(configuration.head_pose),
        key="data.train",
    )
    training, held_out, what = split_held_out(patches, configuration.data.held_out, "data.held_out")
    log.info("%d training images, %d held out (%s)", len(training), len(held_out) if held_out else 0, what or "none")
    unlabelled = _unlabelled(configuration)

    with open_run(run, configuration, new=new) as folder, Interruption() as interruption:
        folder.write_rejected(patches.rejected | (unlabelled.rejected if unlabelled else {}))
        inputs = {"data.train": patches.digest()}
        if refiner is not None:
            inputs["augmentation.refiner"] = refiner.digest
        if unlabelled is not None:
            inputs["data.unlabelled"] = unlabelled.digest()
        if configuration.network == "knn":
            folder.settle_environment("cpu", inputs, lambda _: "fp32")
            report(1, 1, fit_neighbours(configuration, folder, training, held_out, what))
            return folder.estimator

        # Resume from the newest checkpoint.
        state = load_checkpoint(folder.checkpoints)
        data = configuration, folder, training, held_out, augmentation, refiner
        job = (
            GazeTraining(*data, device=device, inputs=inputs)
            if unlabelled is None
            else CoTeaching(*data, unlabelled, device=device, inputs=inputs)
        )
        job.held_out_by = what
        if state is not None:
            job.load_state_dict(state)
            log.info("resuming at step %d of %d", job.step, configuration.steps)
        folder.write_configuration(configuration)  # steps may have grown

        # Train.
        run_training(job, report, lambda: interruption.requested)
        job.save_estimator()
    return folder.estimator


def _unlabelled(configuration: GazeConfiguration) -> UnlabelledPatches | None:
    """Read the unlabelled images of a configuration; None if it has none."""
    if not configuration.data.unlabelled:
        return None
    loaded = load_unlabelled(
        configuration.data.unlabelled,
        size=configuration.size,
        equalize=configuration.equalize,
        head_pose=configuration.head_pose,
    )
    log.info("%d unlabelled images for %d estimators", len(loaded), configuration.co_teaching.members)
    return loaded
