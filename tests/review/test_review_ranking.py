"""Rankings of images: votes of neighbours without one's own label, and unlabelled images by doubt and diversity."""

from __future__ import annotations

import numpy as np

from sightline.review.plain_answers import PlainFeatures, even_sample, geometric_mean, plain_answers
from sightline.review.review_ranking import informative, nearest, neighbourhood


def directions(*angles: float) -> np.ndarray:
    turned = np.deg2rad(angles)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def test_neighbours_vote_without_the_image_itself() -> None:
    embeddings = directions(*range(30), *range(120, 150), 200)
    labels = np.array([0] * 30 + [1] * 30 + [0])
    labels[5] = 1  # wrong
    vote, strangeness = neighbourhood(labels, embeddings, 2)
    assert vote[5].argmax() == 0
    assert vote[5, 1] < 0.05
    assert np.delete(vote.argmax(axis=1), [5, 60]).tolist() == [0] * 29 + [1] * 30
    assert strangeness.argmax() == 60


def test_the_nearest_come_first_and_fewer_where_there_are_fewer() -> None:
    places, cosines = nearest(directions(10), directions(90, 0, 30), 5)
    assert places.tolist() == [[1, 2, 0]]
    assert np.allclose(cosines[0], np.cos(np.deg2rad([10, 20, 80])), atol=1e-6)


def test_doubtful_images_of_different_kinds_come_before_sure_ones() -> None:
    # Fifty that look alike and are in doubt, one of another kind in as much doubt, and fifty that the model is sure of.
    embeddings = directions(*np.linspace(0, 1, 50), 90, *np.linspace(40, 60, 50))
    probabilities = np.array([[0.5, 0.5]] * 51 + [[0.999, 0.001]] * 50, np.float32)
    order = informative(probabilities, embeddings, count=2)
    assert sorted(order) == list(range(101))
    assert 50 in order[:2]
    assert max(order[:51]) == 50
    assert order == informative(probabilities, embeddings, count=2)
    assert sorted(informative(np.ones((3, 2), np.float32), directions(0, 0, 0), count=3)) == [0, 1, 2]


def test_an_answer_from_plain_features_has_not_seen_the_images_own_label() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 60)
    images = random.integers(0, 30, (180, 12, 12, 1), np.uint8)
    for label in range(3):
        images[labels == label, 4 * label : 4 * label + 4] += 150
    given = labels.copy()
    given[[7, 100, 170]] = [1, 2, 0]
    features = np.concatenate([PlainFeatures(images[::2])(part) for part in (images[:100], images[100:])])
    answers = plain_answers(features, given, 4)  # no image is of the fourth class
    assert np.allclose(answers.sum(axis=1), 1)
    assert (answers.argmax(axis=1) == labels).all()
    assert set(np.argsort(answers[np.arange(180), given])[:3].tolist()) == {7, 100, 170}
    # A network that has learned the wrong labels by heart is outvoted.
    learned = np.full((180, 4), 0.01)
    learned[np.arange(180), given] = 0.97
    assert (geometric_mean([learned, answers, answers]).argmax(axis=1) == labels).all()


def test_sets_that_are_too_small_for_folds_get_answers() -> None:
    images = np.zeros((1, 5, 5, 3), np.uint8)
    assert plain_answers(PlainFeatures(images)(images), np.array([0]), 2).shape == (1, 2)
    images = np.concatenate([images, images + 200, images + 90])
    answers = plain_answers(PlainFeatures(images)(images), np.array([0, 1, 1]), 2)
    assert np.isfinite(answers).all()
    assert [len(each) for each in even_sample([4000, 0, 5])] == [1334, 0, 2]
