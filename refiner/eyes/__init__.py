"""Labelled procedural eyes in torch, and a stand-in camera that makes them look like another domain's photographs."""

from refiner.eyes.camera import StandInCamera, stand_in_parameters
from refiner.eyes.parameters import EyeParameters
from refiner.eyes.rendering import EyeBatch, render_eyes

__all__ = ["EyeBatch", "EyeParameters", "StandInCamera", "render_eyes", "stand_in_parameters"]
