"""Statistics of real images, for methods that train no network and for the adaptation before one.

The refiner file holds the statistics, never the images.
"""

import logging

import numpy as np
import torch
from torch import Tensor

from refiner.config.training import STATISTICS, TrainingConfiguration
from refiner.core.rng import numpy_generator
from refiner.data.domains import ImageDomain
from refiner.models.adapted import Adaptation
from refiner.models.files.refiner_file import save_refiner
from refiner.models.modules import build_module
from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture
from refiner.models.statistics.fourier import FourierRefiner
from refiner.models.statistics.histogram import HistogramRefiner
from refiner.runs.distributed import Processes
from refiner.runs.folder import RunFolder
from refiner.training.inputs import TrainingInputs
from refiner.training.sample_sheet import write_sample_sheet

log = logging.getLogger(__name__)

_BLOCK = 64  # real images read at a time


def fit_statistics(
    configuration: TrainingConfiguration,
    folder: RunFolder,
    inputs: TrainingInputs,
    *,
    device: str,
    processes: Processes,
) -> None:
    """Write the refiner file and a sample sheet of a run. A repeated call writes the same bytes.

    Args:
        configuration: of the run.
        folder: the run folder.
        inputs: of the run.
        device: ``cpu`` or ``cuda``, which the run folder records; statistics are computed on the CPU.
        processes: the processes that were started together; the main one does the work.

    Raises:
        RunError: the run was started with other inputs.
    """
    digests = inputs.digests()
    processes.main_process_first(
        lambda: folder.settle_environment(device, digests, lambda _: "fp32", num_processes=processes.num_processes)
    )
    if not processes.is_main_process:
        return
    real = inputs.domains["real"]
    refiner = fitted_refiner(configuration, configuration.method, real)

    @torch.inference_mode()
    def refine(images: Tensor) -> Tensor:
        refined: Tensor = refiner(images)
        return refined

    write_sample_sheet(folder.samples, 0, inputs.domains, refine)
    # Name only the settings that matter: no paths, and no sections of networks.
    used = {"seed", "size", "channels", "method", configuration.method}
    training = {"real_images": len(real), "configuration": configuration.model_dump(mode="json", include=used)}
    save_refiner(folder.refiner, refiner, training=training)
    folder.write_configuration(configuration)
    log.info("%s holds %s", folder.refiner, refiner.architecture.summary)


def fitted_adaptation(configuration: TrainingConfiguration, real: ImageDomain) -> Adaptation | None:
    """Build the adaptation before the network of a configuration; None if it has none."""
    return None if configuration.adaptation == "none" else fitted_refiner(configuration, configuration.adaptation, real)


def fitted_refiner(configuration: TrainingConfiguration, kind: str, real: ImageDomain) -> Adaptation:
    """Build a refiner with the statistics of real images, drawn by the seed if there are more than it may hold.

    Args:
        configuration: of the run.
        kind: ``fourier`` or ``histogram``, which names the section of the settings, too.
        real: the real images.
    """
    section = configuration.fourier if kind == "fourier" else configuration.histogram
    examples = min(section.examples, len(real))
    numbers = np.sort(numpy_generator(configuration.seed, "examples").choice(len(real), examples, replace=False))
    refiner = build_module(_architecture(configuration, kind, examples))
    assert isinstance(refiner, FourierRefiner | HistogramRefiner)
    for start in range(0, examples, _BLOCK):
        refiner.fit(start, real.batch(numbers[start : start + _BLOCK]))
    return refiner.eval()


def _architecture(
    configuration: TrainingConfiguration, kind: str, examples: int
) -> FourierArchitecture | HistogramArchitecture:
    assert kind in STATISTICS
    if kind == "fourier":
        fourier = configuration.fourier
        return FourierArchitecture(
            configuration.channels, examples, configuration.size, fourier.beta, camera=fourier.camera
        )
    section = configuration.histogram
    return HistogramArchitecture(configuration.channels, examples, section.levels, section.blend, camera=section.camera)
