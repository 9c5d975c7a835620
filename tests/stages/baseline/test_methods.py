"""Each method: better than the majority on digits, and sound on sets that are hardly one."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.metrics.base import require_probabilities
from sightline.stages.baseline.method import METHODS, BaselineMethod
from tests.stages.baseline.conftest import configuration, digits

NAMES = [name for name in METHODS if not name.startswith("pretrained")]  # which have tests of their own
LEARNING = [name for name in NAMES if name != "majority"]
# What a third of the digits, without preprocessing, is enough for, less four standard errors.
AT_LEAST = {"pixels_logreg": 0.91, "dense": 0.92, "hog_svm": 0.93, "sift_svm": 0.87}


def shuffled(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns digits in random order: they come sorted by writer, and what is new in a writer is not measured here."""
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))[:count]
    return images[order], labels[order]


def fitted(name: str, images: np.ndarray, labels: np.ndarray, num_classes: int, **changes: object) -> BaselineMethod:
    method = METHODS[name](configuration(**changes), num_classes)
    method.fit(images, labels)
    return method


@pytest.mark.parametrize("name", LEARNING)
def test_digits_are_recognised(name: str) -> None:
    images, labels = shuffled(900)
    method = fitted(name, images[:600], labels[:600], 10)
    probabilities = method.predict_proba(images[600:])
    require_probabilities(labels[600:], probabilities)
    accuracy = (probabilities.argmax(axis=1) == labels[600:]).mean()
    majority = fitted("majority", images[:600], labels[:600], 10).predict_proba(images[600:])
    assert accuracy >= AT_LEAST[name] > (majority.argmax(axis=1) == labels[600:]).mean() + 0.3
    assert method.parameters()["images"] == 600
    assert method.parameters()["folds"] == 3
    assert method.size > 1000
    assert not method.notes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "labels"),
    [
        ((8, 8, 1), [0, 1]),  # one image a class
        ((8, 9, 3), [0, 0, 1, 1, 2, 2]),
        ((17, 8, 2), [2, 2, 2, 1, 1, 0]),  # grey and mask; one class with a single image
        ((9, 9, 4), [0, 0, 0, 2, 2, 2]),  # colours and mask; class 1 is absent
        ((8, 8, 5), [1, 1, 1]),  # one class
        ((70, 90, 3), [0, 0, 1, 1]),  # larger than the methods look at
    ],
)
@pytest.mark.parametrize("blank", [False, True])
def test_odd_sets(name: str, shape: tuple[int, int, int], labels: list[int], blank: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), *shape), np.uint8)
    if blank:
        images[:] = 7
    method = fitted(name, images, np.array(labels), 4, epochs=3, words=8)
    probabilities = method.predict_proba(images[:2])
    require_probabilities(np.array(labels[:2]), probabilities)
    assert probabilities.shape == (2, 4)
    assert (probabilities[:, sorted({0, 1, 2, 3} - set(labels))] == 0).all()
    assert method.size >= 0


@pytest.mark.parametrize("name", LEARNING)
def test_two_classes(name: str) -> None:
    images, labels = digits()
    two = labels < 2
    images, labels = images[two], labels[two]
    method = fitted(name, images[:200], labels[:200], 2)
    right = method.predict_proba(images[200:]).argmax(axis=1) == labels[200:]
    assert right.mean() > 0.9


def test_the_majority_says_the_shares() -> None:
    method = fitted("majority", np.zeros((4, 8, 8, 1), np.uint8), np.array([1, 1, 1, 0]), 3)
    assert method.predict_proba(np.zeros((2, 8, 8, 1), np.uint8)).tolist() == [[0.25, 0.75, 0]] * 2


@pytest.mark.parametrize("name", ["hog_svm", "sift_svm"])
def test_threads_change_nothing(name: str) -> None:
    images, labels = digits(300)
    one, three = (fitted(name, images, labels, 10, threads=n).predict_proba(images) for n in (1, 3))
    assert one.tobytes() == three.tobytes()


def test_a_kernel_sees_at_most_so_many_images() -> None:
    images, labels = digits(300)
    method = fitted("sift_svm", images, labels, 10, kernel_images=100)
    assert method.parameters()["images"] == 100
    assert method.notes == ["fitted on 100 of 300 training images (kernel_images)"]


def test_probabilities_are_as_sure_as_the_answers_are_right() -> None:
    """The scores of a support vector machine are no probabilities until they are scaled."""
    images, labels = shuffled(1500)
    method = fitted("hog_svm", images[:300], labels[:300], 10)
    probabilities = method.predict_proba(images[300:])
    right = probabilities.argmax(axis=1) == labels[300:]
    assert abs(probabilities.max(axis=1).mean() - right.mean()) < 0.03
