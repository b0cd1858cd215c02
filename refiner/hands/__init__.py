"""Procedural hands as a depth camera sees them: labelled renders, and a stand-in for a real sensor."""

from refiner.hands.rendering import render_hand, rendered_hands
from refiner.hands.skeleton import HandRanges, draw_hand, target_hands
from refiner.hands.target_sensor import TargetSensor

__all__ = ["HandRanges", "TargetSensor", "draw_hand", "render_hand", "rendered_hands", "target_hands"]
