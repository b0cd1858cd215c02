"""The choice of a real image, and of a strength, for each render, by its draw."""

from collections.abc import Sequence

import torch
from torch import Tensor


def choose(draws: Sequence[bytes], examples: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Choose an example and a strength for each image.

    Args:
        draws: N draws, see :mod:`refiner.models.draws`.
        examples: number of examples to choose from.
        device: device of the result.

    Returns:
        Numbers of the examples, (N,) int64, and strengths in [0, 1), (N,) float64.
    """
    numbers = [int.from_bytes(draw[:8], "little") % examples for draw in draws]
    strengths = [int.from_bytes(draw[8:14], "little") / 2**48 for draw in draws]
    return (
        torch.tensor(numbers, dtype=torch.int64, device=device),
        torch.tensor(strengths, dtype=torch.float64, device=device),
    )
