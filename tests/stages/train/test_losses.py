"""Losses and class weights against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sightline.stages.train.class_weights import EFFECTIVE_BETA, class_weights
from sightline.stages.train.losses.cross_entropy import CrossEntropy
from sightline.stages.train.losses.focal import Focal

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0], [-1.0, 3.0, 1.0], [0.0, 0.0, 4.0]])
LABELS = torch.tensor([0, 1, 2, 2])


def test_focal_without_focus_is_cross_entropy():
    expected = nn.functional.cross_entropy(LOGITS, LABELS)
    assert torch.isclose(Focal("focal", 0.0).build(None)(LOGITS, LABELS), expected)


def test_focal_by_hand():
    p = torch.softmax(LOGITS, 1)[torch.arange(4), LABELS].tolist()
    expected = sum(-((1 - x) ** 2) * math.log(x) for x in p) / 4
    assert math.isclose(Focal("focal", 2.0).build(None)(LOGITS, LABELS).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("option", [CrossEntropy("cross_entropy", 0.0), Focal("focal", 0.0)])
def test_weights_count_as_in_cross_entropy_and_soft_targets_as_hard_ones(option):
    weight = torch.tensor([0.5, 1.0, 2.0])
    expected = nn.functional.cross_entropy(LOGITS, LABELS, weight=weight)
    assert torch.isclose(option.build(weight)(LOGITS, LABELS), expected)
    plain = option.build(None)
    assert torch.isclose(plain(LOGITS, nn.functional.one_hot(LABELS, 3).float()), plain(LOGITS, LABELS))


def test_label_smoothing_is_passed_on():
    expected = nn.functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    assert torch.isclose(CrossEntropy("cross_entropy", 0.1).build(None)(LOGITS, LABELS), expected)


def test_no_weights():
    assert class_weights(np.array([0, 1]), 2, "none") is None


@given(st.lists(st.integers(0, 4), min_size=1, max_size=300), st.sampled_from(["inverse", "effective"]))
def test_weights_have_mean_one_and_the_rarer_class_weighs_more(labels, kind):
    counts = np.bincount(labels, minlength=5)
    weights = class_weights(np.array(labels), 5, kind).numpy()
    assert math.isclose(weights[counts > 0].mean(), 1, rel_tol=1e-5)
    assert (weights[counts == 0] == 0).all()
    order = np.argsort(counts[counts > 0], kind="stable")
    assert (np.diff(weights[counts > 0][order]) <= 1e-6).all()


def test_weights_by_hand():
    labels = np.array([0] * 30 + [1] * 10)
    assert class_weights(labels, 2, "inverse").tolist() == pytest.approx([0.5, 1.5])
    effective = [(1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**n) for n in (30, 10)]
    expected = [2 * e / sum(effective) for e in effective]
    assert class_weights(labels, 2, "effective").tolist() == pytest.approx(expected)
