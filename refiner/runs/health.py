"""Figures that tell whether adversarial training is healthy, and warnings in words when it is not.

D accuracy of 1/2 on both sides is the equilibrium; it proves nothing on its own, since a dead discriminator
says 1/2 too.
"""

import math
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

PAGE = "docs/troubleshooting.md"
"""Where each warning has a place, by the symptom's name."""

PATIENCE = 8
"""Log intervals in a row before a state of the game is worth a warning."""


@torch.no_grad()
def refiner_metrics(synthetic: Tensor, refined: Tensor) -> dict[str, Tensor]:
    """How much the refiner changes, and how different its outputs still are.

    Args:
        synthetic, refined: (N, C, H, W), in [-1, 1].

    Returns:
        ``change``: mean absolute change, in units of [-1, 1] (1 grey level is 0.0078). ``diversity``: spread of
        the refined images over the batch, as a share of the spread of the synthetic ones; near 0 is collapse.
        ``saturated``: share of pixels beyond 0.99 that the render did not have there.
    """
    spread = synthetic.std(dim=0).mean()
    return {
        "change": (refined - synthetic).abs().mean(),
        "diversity": refined.std(dim=0).mean() / spread.clamp(min=1e-6),
        "saturated": ((refined.abs() > 0.99) & (synthetic.abs() <= 0.99)).float().mean(),
    }


@torch.no_grad()
def discriminator_metrics(refined_logits: Tensor, real_logits: Tensor) -> dict[str, Tensor]:
    """Share of patches judged rightly on each side, and the mean probability of *refined* given to each.

    Args:
        refined_logits, real_logits: (N, 1, h, w), positive means refined.
    """
    return {
        "accuracy_refined": (refined_logits > 0).float().mean(),
        "accuracy_real": (real_logits < 0).float().mean(),
        "probability_refined": refined_logits.sigmoid().mean(),
        "probability_real": real_logits.sigmoid().mean(),
    }


class Monitor:
    """Turns the means of a log interval into warnings, each at most once in a while.

    Args:
        ignorance: the discriminator's loss when it knows nothing; 0 where losses have no such scale.
    """

    def __init__(self, ignorance: float = 2 * math.log(2)) -> None:
        self._ignorance = ignorance
        self._streaks: Counter[str] = Counter()

    def warnings(self, means: Mapping[str, float]) -> list[str]:
        """What is wrong after an interval of steps; empty as long as nothing lasts, and during pre-training.

        Args:
            means: the figures of this module and the losses, averaged over the interval.
        """
        if "adversarial" not in means or "discriminator_loss" not in means:
            return []
        return [
            f"{message} ({PAGE}#{name})"
            for name, (present, message) in _symptoms(means, self._ignorance).items()
            if self._lasts(name, present)
        ]

    def _lasts(self, name: str, present: bool) -> bool:
        """Whether a symptom has just lasted PATIENCE intervals, or 4 times that again."""
        self._streaks[name] = self._streaks[name] + 1 if present else 0
        return self._streaks[name] >= PATIENCE and (self._streaks[name] - PATIENCE) % (4 * PATIENCE) == 0


def _symptoms(means: Mapping[str, float], ignorance: float) -> dict[str, tuple[bool, str]]:
    accuracy = min(means["accuracy_refined"], means["accuracy_real"])
    return {
        "winning": (
            accuracy > 0.95,
            f"the discriminator wins: it is right on {accuracy:.0%} of the patches of either side. First remedy: a "
            "smaller discriminator_optimizer.learning_rate, label_smoothing 0.1, or more refiner_updates",
        ),
        "saturated": (
            means["discriminator_loss"] < 0.0144 * ignorance,
            f"the discriminator is saturated: its loss is {means['discriminator_loss']:.4f}, of {ignorance:.2f} "
            "when it knows nothing. First remedy: check that both domains are equalised alike",
        ),
        "collapsed": (
            means["diversity"] < 0.35,
            f"the outputs collapse: refined images differ from one another {means['diversity']:.0%} as much as the "
            "renders do. First remedy: a larger self_regularization_weight, fewer refiner_updates, a history buffer",
        ),
        "identity": (
            means["change"] < 0.004,
            f"refined equals synthetic: pixels change by {means['change'] * 127.5:.2f} grey levels on average. First "
            "remedy: a smaller self_regularization_weight, or a larger learning rate of the refiner",
        ),
        "clipped": (
            means["saturated"] > 0.05,
            f"the refiner drives {means['saturated']:.0%} of the pixels to black or white. First remedy: a larger "
            "self_regularization_weight, or match the exposure of the two domains",
        ),
    }
