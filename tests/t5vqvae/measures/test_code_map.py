"""The projection of the map, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from t5vqvae.measures.code_map import projected


def test_two_directions_of_three_hold_their_share_of_the_variance() -> None:
    corners = np.array([[s * a, t * b, u * c] for s, t, u in np.ndindex(2, 2, 2) for a, b, c in [(6.0, 4.0, 2.0)]])
    points, explained = projected(corners, np.ones(8))
    assert explained == pytest.approx((36 + 16) / (36 + 16 + 4))
    assert np.abs(points[:, 0]) == pytest.approx(3) and np.abs(points[:, 1]) == pytest.approx(2)


def test_frequent_codes_decide_the_axes() -> None:
    cross = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 3], [0, 0, -3]])
    _, even = projected(cross, np.ones(6))
    points, explained = projected(cross, np.array([100.0, 100, 50, 50, 0.01, 0.01]))
    assert even == pytest.approx(10 / 11) and explained > 0.99
    assert np.abs(points[:2, 0]) == pytest.approx(1) and np.abs(points[4:]).max() < 1e-6


def test_a_line_and_a_point_have_maps() -> None:
    line, explained = projected(np.array([[1.0], [2.0], [4.0]]), np.ones(3))
    assert line.shape == (3, 2) and explained == 1
    assert projected(np.ones((3, 4)), np.ones(3))[0].shape == (3, 2)
