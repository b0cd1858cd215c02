"""Drawn hands: proportions and angles within their ranges, joints where the bones end."""

from dataclasses import replace

import numpy as np
import pytest

from refiner.core.rng import numpy_generator
from refiner.hands.skeleton import JOINTS, Hand, HandRanges, draw_hand, target_hands

FLAT = HandRanges(size=(1, 1), thickness=(1, 1), curl=(0, 0), spread=(0, 0), roll=(0, 0), pitch=(0, 0), yaw=(0, 0))


def drawn(ranges: HandRanges, count: int = 40) -> list[Hand]:
    return [draw_hand(ranges, numpy_generator(0, "hand", number)) for number in range(count)]


def at(hand: Hand, name: str) -> np.ndarray:
    return hand.joints[JOINTS.index(name)]


def test_a_flat_hand_points_up_and_its_thumb_to_the_right() -> None:
    for hand in drawn(FLAT, 5):
        for finger in ("little", "ring", "middle", "index"):
            assert at(hand, f"{finger} tip")[1] < at(hand, f"{finger} middle")[1] < at(hand, "palm")[1]
        assert at(hand, "palm")[1] < at(hand, "wrist thumb side")[1]
        assert at(hand, "thumb tip")[0] > at(hand, "index tip")[0] > at(hand, "little tip")[0]


def test_the_box_of_the_joints_lies_in_the_middle_at_the_drawn_distance() -> None:
    for hand in drawn(HandRanges()):
        middle = (hand.joints.min(axis=0) + hand.joints.max(axis=0)) / 2
        assert np.allclose(middle, [0, 0, hand.distance])
        assert 500 <= hand.distance <= 750


def test_a_fist_is_shorter_than_a_flat_hand() -> None:
    fist, flat = (
        np.mean([np.ptp(hand.joints[:, 1]) for hand in drawn(replace(FLAT, curl=(curl, curl)), 10)])
        for curl in (1.0, 0.0)
    )
    assert fist < 0.75 * flat


def test_size_scales_everything() -> None:
    small, large = (draw_hand(replace(FLAT, size=(size, size)), numpy_generator(3, "hand")) for size in (0.8, 1.0))
    assert np.allclose(np.ptp(small.joints, axis=0), 0.8 * np.ptp(large.joints, axis=0))
    assert np.allclose(small.radii, 0.8 * large.radii)


def test_roll_turns_in_the_image() -> None:
    up, aside = (draw_hand(ranges, numpy_generator(0, "hand")) for ranges in (FLAT, replace(FLAT, roll=(90, 90))))
    assert np.allclose(np.ptp(up.joints, axis=0)[[1, 0]], np.ptp(aside.joints, axis=0)[:2])


@pytest.mark.parametrize("ranges", [HandRanges(), target_hands()], ids=["synthetic", "target"])
def test_every_joint_but_the_palm_s_and_the_wrist_s_ends_a_bone(ranges: HandRanges) -> None:
    for hand in drawn(ranges, 5):
        ends = np.concatenate([hand.starts, hand.ends])
        for name, joint in zip(JOINTS, hand.joints, strict=True):
            nearest = np.linalg.norm(ends - joint, axis=1).min()
            assert nearest < 1e-9 or name == "palm" or name.startswith("wrist")


def test_target_hands_are_others() -> None:
    assert target_hands() != HandRanges()
