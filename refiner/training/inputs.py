"""Inputs of a training run: both domains, their augmentations, a task network, another refiner's weights."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refiner.config.training import PAIRED, TrainingConfiguration
from refiner.core.errors import ConfigurationError, DataError
from refiner.data.augmentation import Augmentation
from refiner.data.domains import ImageDomain, load_domain
from refiner.data.folders.selection import Selection
from refiner.data.pairs import paired_domains
from refiner.models.files.refiner_file import RefinerFile, load_refiner
from refiner.runs.health import PAGE
from refiner.training.preflight import compare_domains, compare_with_estimator
from refiner.training.task_network import TaskNetwork, load_task

log = logging.getLogger(__name__)

PURPOSES = {"synthetic": "renders", "real": "photographs"}
"""Purpose of each domain's random numbers. The words are part of the random stream: do not change them."""


_FOR_NETWORKS = ("histogram", "few renders", "few real images")
"""Findings that matter only to networks: other methods match grey levels themselves, and need no batches."""


class TrainingInputs(NamedTuple):
    """Inputs of a training run.

    Attributes:
        domains: ``synthetic`` and ``real``.
        augmentations: augmentation of each domain that has one.
        task: frozen network whose predictions refining should not change.
        weights: refiner whose weights a new run starts from.
    """

    domains: dict[str, ImageDomain]
    augmentations: dict[str, Augmentation]
    task: TaskNetwork | None = None
    weights: RefinerFile | None = None

    def rejected(self, configuration: TrainingConfiguration) -> dict[str, str]:
        """Return path and reason of each image that was left out."""
        return {
            str(Path(getattr(configuration.data, name)) / sample): reason
            for name, domain in self.domains.items()
            for sample, reason in domain.rejected.items()
        }

    def digests(self) -> dict[str, str]:
        """Return the digest of each input by name. A resumed run compares them with those it was started with."""
        digests = {name: domain.digest() for name, domain in self.domains.items()}
        digests |= {} if self.task is None else {"estimator": self.task.digest}
        return {**digests, "start_from": self.weights.digest() if self.weights else "nothing"}


def load_inputs(
    configuration: TrainingConfiguration, *, start_from: Path | None = None, num_processes: int = 1
) -> TrainingInputs:
    """Read and check all inputs.

    Args:
        configuration: of the run.
        start_from: a refiner file or run folder.
        num_processes: number of processes that share each batch.

    Raises:
        DataError: an input cannot be used, or the domains do not fit and the configuration refuses that.
        ConfigurationError: a transform is unknown, or the processes cannot share a batch equally.
    """
    # Check what costs nothing before images are read.
    _check_batch(configuration, num_processes)
    check_augmentations(configuration)
    paths = configuration.data.estimator
    task = None if paths is None else load_task(paths, key="data.estimator", size=configuration.size)
    # Read both domains, and compare them.
    domains = _load_domains(configuration)
    if configuration.data.preflight != "skip":
        _compare(domains, task, configuration)
    weights = None if start_from is None else load_refiner(start_from)
    built = {name: _build_augmentation(configuration, name, domain.images.dtype) for name, domain in domains.items()}
    augmentations = {name: augmentation for name, augmentation in built.items() if augmentation is not None}
    return TrainingInputs(domains, augmentations, task, weights)


def _check_batch(configuration: TrainingConfiguration, num_processes: int) -> None:
    if num_processes > 1 and configuration.discriminator.batch_norm:
        raise ConfigurationError(
            "discriminator.batch_norm needs the statistics of a whole batch, but each process has only a slice; set "
            "it to false, or train in one process"
        )
    if configuration.batch_size % num_processes:
        raise ConfigurationError(
            f"batch_size is {configuration.batch_size}, which {num_processes} processes cannot share equally; set it "
            f"to a multiple of {num_processes}, or start another number of processes"
        )


def _load_domains(configuration: TrainingConfiguration) -> dict[str, ImageDomain]:
    domains = {}
    selection = Selection(tuple(configuration.data.include), tuple(configuration.data.exclude))
    for name in PURPOSES:
        conditions: dict[str, Any] = {}
        # Only renders have labels and masks.
        if name == "synthetic":
            conditions = {"gaze": configuration.discriminator.condition == "gaze", "mask": configuration.data.mask}
        domain = load_domain(
            getattr(configuration.data, name),
            key=f"data.{name}",
            size=configuration.size,
            channels=configuration.channels,
            selection=selection,
            **conditions,
        )
        log.info("%s: %d images%s", name, len(domain), f", {len(domain.rejected)} left out" if domain.rejected else "")
        domains[name] = domain
    if configuration.method in PAIRED:
        domains = dict(zip(PURPOSES, paired_domains(*domains.values()), strict=True))
        alone = sum(len(domain.rejected) for domain in domains.values())
        log.info("%d pairs%s", len(domains["synthetic"]), f", {alone} images left out" if alone else "")
    return domains


def _compare(domains: dict[str, ImageDomain], task: TaskNetwork | None, configuration: TrainingConfiguration) -> None:
    """Warn about domains that do not fit each other, or refuse them."""
    findings = compare_domains(domains["synthetic"], domains["real"], batch_size=configuration.batch_size)
    if task is not None:
        findings += compare_with_estimator(domains["synthetic"], equalize=task.equalize)
    if configuration.fits_statistics:
        findings = [finding for finding in findings if finding.key not in _FOR_NETWORKS]
    if configuration.adaptation != "none":  # it matches grey levels itself
        findings = [finding for finding in findings if finding.key != "histogram"]
    for finding in findings:
        log.warning("pre-flight: %s; %s (%s#preflight)", finding.message, finding.remedy, PAGE)
    if findings and configuration.data.preflight == "refuse":
        raise DataError(f"pre-flight: {findings[0].message}; {findings[0].remedy}, or set data.preflight: warn")


def check_augmentations(configuration: TrainingConfiguration) -> None:
    """Try the transforms of both domains on 8-bit noise, before any image is read.

    Raises:
        ConfigurationError: a transform is unknown, or does not fit images of this size and number of channels.
    """
    for name in PURPOSES:
        _build_augmentation(configuration, name, np.dtype(np.uint8))


def _build_augmentation(configuration: TrainingConfiguration, name: str, dtype: Any) -> Augmentation | None:
    """Build the augmentation of a domain; None if it has no transforms.

    Raises:
        ConfigurationError: a transform is unknown, or does not fit the images.
    """
    steps = getattr(configuration.augmentation, name)
    if not steps:
        return None
    shape = configuration.size if configuration.channels == 1 else (*configuration.size, configuration.channels)
    return Augmentation(
        steps,
        key=f"augmentation.{name}",
        seed=configuration.seed,
        purpose=PURPOSES[name],
        shape=shape,
        dtype=dtype,
    )
