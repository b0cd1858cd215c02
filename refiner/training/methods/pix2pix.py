"""pix2pix: a map learnt from pairs, a render and a real image of the same scene.

A refined image approaches the real one by the loss of self-regularization, whose target is the partner instead of the
render. The discriminator sees an image together with its render: it judges whether the two belong to each other.

Source: Isola et al. 2017, arXiv:1611.07004, equations 1 to 4; noise comes from no input here, so the map is one to one.
"""

import torch
from torch import Tensor

from refiner.training.methods.simgan import SimGAN


class Pix2Pix(SimGAN):
    """SimGAN on pairs; see :class:`refiner.training.methods.base.Method` for the arguments.

    Updates of the refiner get the partners of the renders; those of the discriminator get them as its real images.
    """

    def _planes(self, synthetic: Tensor, gaze: Tensor | None) -> Tensor:
        """Return the render, and its gaze if the discriminator is conditioned on it."""
        planes = super()._planes(synthetic, gaze)
        return synthetic if planes is None else torch.cat([synthetic, planes], dim=1)

    def _planes_of_real(self, real: Tensor, planes: Tensor | None) -> Tensor | None:
        """Return the planes of the renders, whose scenes the real images show."""
        return planes
