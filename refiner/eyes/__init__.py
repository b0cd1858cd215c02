"""Labelled procedural eyes in torch, and a stand-in camera that makes them look like another domain's photographs."""

from refiner.eyes.rendering import EyeBatch, render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.target_camera import TargetCamera, target_parameters

__all__ = ["EyeBatch", "EyeParameters", "TargetCamera", "render_eyes", "target_parameters"]
