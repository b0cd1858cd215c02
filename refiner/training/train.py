"""Training of a refiner from data to file: inputs, run folder, resume, loop."""

import contextlib
import logging
from pathlib import Path

from refiner.config.training import TrainingConfiguration
from refiner.core.devices import resolve_device
from refiner.core.errors import DeviceError, RunError, TrainingError, UsageError
from refiner.core.signals import Interruption
from refiner.runs.checkpoints import load_checkpoint
from refiner.runs.distributed import Processes, report_once
from refiner.runs.folder import RunFolder, open_run
from refiner.training.inputs import load_inputs
from refiner.training.loop import RefinerTraining, Report, run_training
from refiner.training.statistics import fit_statistics

log = logging.getLogger(__name__)


def train(
    configuration: TrainingConfiguration,
    run: Path,
    *,
    device: str = "auto",
    new: bool = False,
    start_from: Path | None = None,
    report: Report = lambda step, steps, means: None,
) -> Path:
    """Train a refiner, or resume a run.

    Args:
        configuration: all settings. An existing run must have been started with the same, except for fewer ``steps``.
        run: the run folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        new: delete an existing run first.
        start_from: a refiner file or run folder whose weights a new run starts from.
        report: called after each step.

    Returns:
        The refiner file.

    Raises:
        RefinerError: the data, the configuration or the run folder cannot be used, or a loss is not finite.
    """
    if start_from is not None and configuration.fits_statistics:
        raise UsageError(
            f"--from starts from the weights of a network, but method {configuration.method} trains none; omit --from"
        )
    # The device comes first, since it decides how the processes communicate.
    with report_once((DeviceError, RunError)):
        device = resolve_device(device) if new else RunFolder(run).resolve_device(device)
    processes = Processes(device)
    with contextlib.ExitStack() as stack:
        stack.callback(processes.end_training)
        # Check the inputs before the run folder is touched: a typo must cost nothing.
        with processes.raise_together():
            inputs = load_inputs(configuration, start_from=start_from, num_processes=processes.num_processes)

        # Open the run folder; only the main process writes.
        with processes.raise_together():
            folder = RunFolder(run)
            if processes.is_main_process:
                folder = stack.enter_context(open_run(run, configuration, new=new))
                folder.write_rejected(inputs.rejected(configuration))

        # Statistics are fitted in seconds, without steps.
        if configuration.fits_statistics:
            fit_statistics(configuration, folder, inputs, device=device, processes=processes)
            processes.wait_for_everyone()
            return folder.refiner

        # Resume from the newest checkpoint.
        with processes.raise_together():
            state = processes.main_process_first(lambda: load_checkpoint(folder.checkpoints))
            training = RefinerTraining(configuration, folder, inputs, device=device, processes=processes)
            if state is not None:
                training.load_state_dict(state)
                log.info("resuming at step %d of %d", training.step, configuration.total_steps)
            if processes.is_main_process:
                folder.write_configuration(configuration)  # steps may have grown

        # Train.
        interruption = stack.enter_context(Interruption())
        with report_once((TrainingError, RunError)):
            run_training(training, report, lambda: processes.any(interruption.requested))
            training.save_refiner()  # a kill may have come between checkpoint and refiner
        processes.wait_for_everyone()
    return folder.refiner
