import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refiner.data.labels.angles import angular_error_degrees, to_angles, to_vectors

angles = st.tuples(st.floats(-1.5, 1.5), st.floats(-3.1, 3.1)).map(np.array)


def test_convention() -> None:
    assert to_vectors(np.zeros(2)) == pytest.approx([0, 0, -1])  # into the camera
    assert to_vectors(np.array([0.3, 0.0]))[1] < 0  # up is a smaller y
    assert to_vectors(np.array([0.0, 0.3]))[0] < 0  # positive yaw is the image's left


def test_vector_of_the_fact_sheet() -> None:
    pitch, yaw = np.degrees(to_angles(np.array([0.1, -0.2, -0.9])))
    assert (pitch, yaw) == (pytest.approx(12.4546, abs=1e-4), pytest.approx(-6.3402, abs=1e-4))


@given(angles)
def test_round_trip_and_unit_length(value: np.ndarray) -> None:
    vector = to_vectors(value)
    assert math.isclose(math.sqrt(sum(part**2 for part in vector)), 1, abs_tol=1e-12)
    assert to_angles(vector) == pytest.approx(value, abs=1e-6)


@given(angles, angles)
def test_error_against_plain_mathematics(a: np.ndarray, b: np.ndarray) -> None:
    error = float(angular_error_degrees(a, b))
    haversine = math.sin((a[0] - b[0]) / 2) ** 2 + math.cos(a[0]) * math.cos(b[0]) * math.sin((a[1] - b[1]) / 2) ** 2
    assert error == pytest.approx(math.degrees(2 * math.asin(math.sqrt(min(1, haversine)))), abs=1e-4)


@given(angles)
def test_same_is_zero_and_opposite_is_180(value: np.ndarray) -> None:
    assert float(angular_error_degrees(value, value)) == pytest.approx(0, abs=2e-6)
    opposite = to_angles(-to_vectors(value))
    assert float(angular_error_degrees(value, opposite)) == pytest.approx(180, abs=1e-4)


def test_many_at_once() -> None:
    first, second = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4, 5, 2))
    assert angular_error_degrees(first, second).shape == (4, 5)
