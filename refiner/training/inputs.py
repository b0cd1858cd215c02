"""What a training starts from: images of both domains, their augmentations, an estimator, another refiner's weights."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import ConfigurationError, DataError
from refiner.data.augmentation import Augmentation
from refiner.data.domains import ImageDomain, load_domain
from refiner.models.refiner_file import RefinerFile, load_refiner
from refiner.runs.health import PAGE
from refiner.training.preflight import compare_domains, compare_with_estimator
from refiner.training.task_network import TaskNetwork, load_task_network

log = logging.getLogger(__name__)


class TrainingInputs(NamedTuple):
    """What a training starts from.

    Attributes:
        domains: ``synthetic`` and ``real``.
        augmentations: of those domains that have one.
        task: the estimator whose answers should stay.
        weights: the refiner whose weights a new run starts from.
    """

    domains: dict[str, ImageDomain]
    augmentations: dict[str, Augmentation]
    task: TaskNetwork | None = None
    weights: RefinerFile | None = None

    def rejected(self, configuration: TrainingConfiguration) -> dict[str, str]:
        """Why images were left out, by their paths."""
        return {
            str(Path(getattr(configuration.data, name)) / sample): reason
            for name, domain in self.domains.items()
            for sample, reason in domain.rejected.items()
        }

    def digests(self) -> dict[str, str]:
        """Of everything, by name: by these a resumed run knows what it was started on."""
        digests = {name: domain.digest() for name, domain in self.domains.items()}
        digests |= {} if self.task is None else {"estimator": self.task.digest}
        return {**digests, "--from": self.weights.digest() if self.weights else "nothing"}


def load_inputs(
    configuration: TrainingConfiguration, *, start_from: Path | None = None, processes: int = 1
) -> TrainingInputs:
    """Read and check everything.

    Args:
        configuration: of the run.
        start_from: a refiner file or run.
        processes: that train together.

    Raises:
        DataError: something cannot be used, or the domains do not fit and the configuration refuses that.
        ConfigurationError: an augmentation that is not known, or a batch that cannot be shared.
    """
    _check_batch(configuration, processes)
    task = _load_task(configuration)
    domains = _load_domains(configuration, task)
    weights = None if start_from is None else load_refiner(start_from)
    return TrainingInputs(domains, _build_augmentations(configuration, domains), task, weights)


def _check_batch(configuration: TrainingConfiguration, processes: int) -> None:
    if processes > 1 and configuration.discriminator.batch_norm:
        raise ConfigurationError(
            "discriminator.batch_norm takes the statistics of a whole batch, of which each process has a share; leave "
            "it out, or train in one process"
        )
    if configuration.batch_size % processes:
        raise ConfigurationError(
            f"batch_size is {configuration.batch_size}, and {processes} processes share each batch equally; set it to "
            f"a multiple of {processes}, or start another number of processes"
        )


def _load_domains(configuration: TrainingConfiguration, task: TaskNetwork | None) -> dict[str, ImageDomain]:
    """Renders and photographs, after the pre-flight.

    Raises:
        DataError: one of them cannot be used, or they do not fit and the configuration refuses that.
    """
    domains = {}
    for name in ("synthetic", "real"):
        path = getattr(configuration.data, name)
        beside: dict[str, Any] = {}
        if name == "synthetic":
            beside = {"gaze": configuration.discriminator.condition == "gaze", "mask": configuration.data.mask}
        domain = load_domain(
            path, key=f"data.{name}", size=configuration.size, channels=configuration.channels, **beside
        )
        log.info("%s: %d images%s", name, len(domain), f", {len(domain.rejected)} left out" if domain.rejected else "")
        domains[name] = domain
    if configuration.data.preflight != "skip":
        findings = compare_domains(domains["synthetic"], domains["real"], batch_size=configuration.batch_size)
        if task is not None:
            findings += compare_with_estimator(domains["synthetic"], equalize=task.equalize)
        for finding in findings:
            log.warning("pre-flight: %s; %s (%s#preflight)", finding.message, finding.remedy, PAGE)
        if findings and configuration.data.preflight == "refuse":
            raise DataError(f"pre-flight: {findings[0].message}; {findings[0].remedy}, or set data.preflight: warn")
    return domains


def _load_task(configuration: TrainingConfiguration) -> TaskNetwork | None:
    """The gaze estimator whose answers should stay.

    Raises:
        DataError: it cannot be used.
    """
    path = configuration.data.estimator
    return None if path is None else load_task_network(path, key="data.estimator", size=configuration.size)


def _build_augmentations(
    configuration: TrainingConfiguration, domains: dict[str, ImageDomain]
) -> dict[str, Augmentation]:
    """What is done to the images of a domain as they are drawn; nothing is built where nothing is asked for.

    Raises:
        ConfigurationError: a transform that is not known, or does not fit the images.
    """
    shape = configuration.size if configuration.channels == 1 else (*configuration.size, configuration.channels)
    return {
        name: Augmentation(
            getattr(configuration.augmentation, name),
            key=f"augmentation.{name}",
            seed=configuration.seed,
            purpose=name,
            shape=shape,
            dtype=domain.images.dtype,
        )
        for name, domain in domains.items()
        if getattr(configuration.augmentation, name)
    }
