"""Metrics of the health of adversarial training, and warnings in words.

At equilibrium the discriminator is right on half of the patches of each domain. That alone proves nothing, because an
untrained discriminator is right on half of them too.
"""

import math
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

PAGE = "docs/troubleshooting.md"
"""Page that explains each warning, at an anchor with the symptom's name."""

PATIENCE = 8
"""Number of log intervals in a row that a symptom must last before it is worth a warning."""

WINNING_ACCURACY, SATURATED_LOSS, COLLAPSED_DIVERSITY, IDENTITY_CHANGE, CLIPPED_SHARE = 0.95, 0.0144, 0.35, 0.004, 0.05
"""Limits of the symptoms; the loss is a share of that of an untrained discriminator."""


@torch.no_grad()
def refiner_metrics(synthetic: Tensor, refined: Tensor) -> dict[str, Tensor]:
    """Measure how much the refiner changes, and how much its outputs differ from one another.

    Args:
        synthetic: (N, C, H, W), in [-1, 1].
        refined: same shape and range.

    Returns:
        ``change``: mean absolute change, in units of [-1, 1] (1 grey level is 0.0078). ``diversity``: standard
        deviation of the refined images over the batch, as a share of that of the synthetic ones; near 0 is collapse.
        ``saturated``: share of pixels beyond 0.99 that were not there in the render.
    """
    spread = synthetic.std(dim=0).mean()
    return {
        "change": (refined - synthetic).abs().mean(),
        "diversity": refined.std(dim=0).mean() / spread.clamp(min=1e-6),
        "saturated": ((refined.abs() > 0.99) & (synthetic.abs() <= 0.99)).float().mean(),
    }


@torch.no_grad()
def discriminator_metrics(refined_logits: Tensor, real_logits: Tensor) -> dict[str, Tensor]:
    """Measure the accuracy of the discriminator on each side, and its mean probability of *refined*.

    Args:
        refined_logits: (N, 1, h, w); positive means refined.
        real_logits: same shape and meaning.
    """
    return {
        "accuracy_refined": (refined_logits > 0).float().mean(),
        "accuracy_real": (real_logits < 0).float().mean(),
        "probability_refined": refined_logits.sigmoid().mean(),
        "probability_real": real_logits.sigmoid().mean(),
    }


class Monitor:
    """Turns the means of log intervals into warnings, and repeats none too often.

    Args:
        chance_loss: loss of a discriminator whose logits are all 0; 0 for objectives without such a scale.
    """

    def __init__(self, chance_loss: float = 2 * math.log(2)) -> None:
        self._chance_loss = chance_loss
        self._streaks: Counter[str] = Counter()

    def warnings(self, means: Mapping[str, float]) -> list[str]:
        """Return warnings for symptoms that have lasted; none during pre-training.

        Args:
            means: metrics of this module and losses, averaged over a log interval.
        """
        # Pre-training has no adversary to monitor.
        if "adversarial" not in means or "discriminator_loss" not in means:
            return []
        return [
            f"{message} ({PAGE}#{name})"
            for name, (present, message) in _symptoms(means, self._chance_loss).items()
            if self._lasts(name, present)
        ]

    def _lasts(self, name: str, present: bool) -> bool:
        """Count the intervals of a symptom; return True after PATIENCE of them, then after every 4 times as many."""
        self._streaks[name] = self._streaks[name] + 1 if present else 0
        return self._streaks[name] >= PATIENCE and (self._streaks[name] - PATIENCE) % (4 * PATIENCE) == 0


def _symptoms(means: Mapping[str, float], chance_loss: float) -> dict[str, tuple[bool, str]]:
    accuracy = min(means["accuracy_refined"], means["accuracy_real"])
    return {
        "winning": (
            accuracy > WINNING_ACCURACY,
            f"the discriminator wins: it is right on {accuracy:.0%} of the patches of each domain. First remedy: a "
            "smaller discriminator_optimizer.learning_rate, label_smoothing 0.1, or more refiner_updates",
        ),
        "saturated": (
            chance_loss > 0 and means["discriminator_loss"] < SATURATED_LOSS * chance_loss,
            f"the discriminator is saturated: its loss is {means['discriminator_loss']:.4f}; an untrained one "
            f"has {chance_loss:.2f}. First remedy: check that both domains are equalised alike",
        ),
        "collapsed": (
            means["diversity"] < COLLAPSED_DIVERSITY,
            f"the outputs collapse: refined images differ from one another {means['diversity']:.0%} as much as "
            "renders do. First remedy: a larger self_regularization_weight, fewer refiner_updates, a history buffer",
        ),
        "identity": (
            means["change"] < IDENTITY_CHANGE,
            f"refined equals synthetic: pixels change by {means['change'] * 127.5:.2f} grey levels on average. First "
            "remedy: a smaller self_regularization_weight, or a larger learning rate of the refiner",
        ),
        "clipped": (
            means["saturated"] > CLIPPED_SHARE,
            f"the refiner drives {means['saturated']:.0%} of the pixels to black or white. First remedy: a larger "
            "self_regularization_weight, or match the exposure of the two domains",
        ),
    }
