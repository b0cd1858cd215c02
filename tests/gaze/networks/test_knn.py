import numpy as np
import pytest
import torch

from refiner.gaze.networks.knn import NearestNeighbours


def test_against_plain_arithmetic() -> None:
    generator = torch.Generator().manual_seed(0)
    images, gaze = torch.rand(20, 1, 18, 30, generator=generator), torch.rand(20, 2, generator=generator)
    network = NearestNeighbours((18, 30), patch=(9, 15), neighbours=3, samples=20)
    network.remember(0, images[:12], gaze[:12])
    network.remember(12, images[12:], gaze[12:])
    asked = torch.rand(4, 1, 18, 30, generator=generator)

    def describe(image: torch.Tensor) -> np.ndarray:
        small = image[0].numpy().astype(float).reshape(9, 2, 15, 2).mean(axis=(1, 3)).ravel()
        return (small - small.mean()) / small.std(ddof=1)

    for image, found in zip(asked, network(asked)):
        distances = [np.linalg.norm(describe(image) - describe(other)) for other in images]
        assert found.numpy() == pytest.approx(gaze[np.argsort(distances)[:3]].numpy().mean(axis=0), abs=1e-5)


def test_one_neighbour_of_a_known_image_is_itself_whatever_the_light() -> None:
    images, gaze = torch.rand(5, 1, 18, 30), torch.rand(5, 2)
    network = NearestNeighbours((18, 30), patch=(9, 15), neighbours=1, samples=5)
    network.remember(0, images, gaze)
    assert torch.equal(network(images * 0.5 + 0.1), gaze)


def test_more_neighbours_than_samples_is_the_mean() -> None:
    gaze = torch.rand(5, 2)
    network = NearestNeighbours((18, 30), patch=(9, 15), neighbours=50, samples=5)
    network.remember(0, torch.rand(5, 1, 18, 30), gaze)
    assert torch.allclose(network(torch.rand(1, 1, 18, 30))[0], gaze.mean(dim=0))
