"""Boxes and the RSNA precision, against cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_models.boxes import boxes_of, intersection_over_union, mean_average_precision, rsna_precision
from cxr_models.training.thresholds import choose_detection_threshold, choose_localisation_threshold

ONE = np.array([[0.0, 0.0, 0.4, 0.4]])
NONE = np.zeros((0, 4))


def test_iou_of_hand_worked_pairs() -> None:
    half = np.array([[0.0, 0.0, 0.2, 0.4], [0.2, 0.2, 0.4, 0.4], [0.5, 0.5, 0.1, 0.1]])
    # half of the box; a quarter of it (0.04) in a union of 0.16 + 0.16 - 0.04; apart
    np.testing.assert_allclose(intersection_over_union(ONE, half)[0], [0.5, 0.04 / 0.28, 0.0], atol=1e-12)


def test_precision_counts_misses_and_false_alarms() -> None:
    truth = np.array([[0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 0.2, 0.2]])
    predicted = np.array([[0.0, 0.0, 0.4, 0.3], [0.0, 0.0, 0.4, 0.32], [0.9, 0.0, 0.1, 0.1]])
    # IoU 0.75 and 0.8 with the first box, which one of them may match: TP 1, FP 2, FN 1
    assert rsna_precision(predicted, truth, 0.5) == pytest.approx(1 / 4)
    assert rsna_precision(predicted, truth, 0.9) == 0.0
    assert np.isnan(rsna_precision(NONE, NONE, 0.5))


def test_map_is_the_mean_over_thresholds_and_images() -> None:
    # IoU 0.6 passes 0.40, 0.45, 0.50 and 0.55 of eight thresholds; the second image has a false alarm; the third counts
    # neither way
    near = np.array([[0.0, 0.0, 0.4, 0.24]])
    assert mean_average_precision([near], [ONE]) == pytest.approx(0.5)
    assert mean_average_precision([near, ONE, NONE], [ONE, NONE, NONE]) == pytest.approx(0.25)


def test_boxes_are_tight_and_specks_are_left_out() -> None:
    heat = np.zeros((40, 40), dtype=np.float32)
    heat[10:20, 4:8] = 0.9
    heat[30:32, 30] = 0.9  # 2 of 1600 pixels
    heat[0:20, 20:40] = 0.3
    np.testing.assert_allclose(boxes_of(heat, 0.5), [[0.1, 0.25, 0.1, 0.25]])
    assert len(boxes_of(heat, 0.2)) == 2
    assert boxes_of(heat, 0.95).shape == (0, 4)


def test_localisation_threshold_maximises_precision() -> None:
    heat = np.zeros((40, 40), dtype=np.float32)
    heat[0:16, 0:16] = 0.8
    heat[0:30, 0:30] = np.maximum(heat[0:30, 0:30], 0.3)
    threshold, precision = choose_localisation_threshold([heat], [ONE], np.array([0.2, 0.5, 0.9]))
    assert threshold == 0.5
    assert precision == 1.0


def test_detection_threshold_is_closest_to_the_corner() -> None:
    probability = np.array([0.1, 0.3, 0.6, 0.4, 0.7, 0.9])
    positive = np.array([False, False, False, True, True, True])
    # at 0.7 (sensitivity 2/3, no false positive) the distance is 1/3; at 0.4 (sensitivity 1, 1/3 false) it is 1/3 too
    assert choose_detection_threshold(probability, positive) == 0.4
    with pytest.raises(ValueError, match="needs images with and without pneumonia"):
        choose_detection_threshold(probability, np.ones(6, dtype=bool))
