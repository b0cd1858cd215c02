"""The nearest-neighbour baseline in a run folder: nothing is trained, so that it takes one step."""

from refiner.gaze.configuration import GazeConfiguration
from refiner.gaze.data import LabelledPatches, to_levels
from refiner.gaze.neighbours import NearestNeighbours
from refiner.gaze.saving import BATCH, held_out_error, save_trained
from refiner.runs.folder import RunFolder


def fit_neighbours(
    configuration: GazeConfiguration, folder: RunFolder, training: LabelledPatches, held_out: LabelledPatches | None
) -> dict[str, float]:
    """Fit and save the nearest-neighbour baseline; gives its figures."""
    section = configuration.neighbours
    arguments = {"patch": list(section.size), "neighbours": section.count, "samples": len(training)}
    network = NearestNeighbours(
        configuration.size, patch=section.size, neighbours=section.count, samples=len(training)
    ).eval()
    images, gaze, _ = training.tensors()
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        network.remember(start, to_levels(images[part]), gaze[part])
    error = held_out_error(network, held_out, "cpu") if held_out else None
    figures = {} if error is None else {"held_out_degrees": error}
    folder.cut_metrics(0)
    folder.log_metrics({"step": 1, **figures})
    design = {"network": "knn", "size": list(configuration.size), **arguments}
    chosen = {"steps": 0, "step": 0, "precision": "fp32"}
    save_trained(configuration, folder, network.state_dict(), design, training, error, chosen)
    return figures
